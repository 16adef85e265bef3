"""Conservative DPO: a share ε of the labels is taken to be the wrong way round.

    −(1 − ε) log σ(β h) − ε log σ(−β h)

E. Mitchell, "A note on DPO with noisy preferences & relationship to IPO" (2023). Least where
σ(β h) = 1 − ε, so a pair's margin stops growing there. Equal policies cost log 2, whatever ε.
"""

from torch import Tensor
from torch.nn import functional

from components.training.preference.losses.loss import LossShape


def cdpo_loss(differences_P: Tensor, shape: LossShape) -> Tensor:
    """Return each pair's loss, (pairs,)."""
    logits_P = shape.beta * differences_P
    right_P, wrong_P = functional.logsigmoid(logits_P), functional.logsigmoid(-logits_P)
    return -(1 - shape.label_smoothing) * right_P - shape.label_smoothing * wrong_P
