"""IPO (arXiv:2310.12036 eq. 17): (h − 1/(2β))², which asks for a margin of 1/(2β) nats and no more.

The paper's τ is β here. As in the paper h is of whole answers; libraries that divide it by their lengths (TRL) ask for
another margin, so their β does not carry over. Equal policies cost 1/(4β²).
"""

from torch import Tensor

from components.training.preference.losses.loss import LossShape


def ipo_loss(differences_P: Tensor, shape: LossShape) -> Tensor:
    """Return each pair's loss, (pairs,); `shape.label_smoothing` is not read."""
    return (differences_P - 1 / (2 * shape.beta)).square()
