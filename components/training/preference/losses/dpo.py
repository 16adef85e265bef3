"""DPO (arXiv:2305.18290 eq. 7): −log σ(β h). Equal policies cost log 2."""

from torch import Tensor
from torch.nn import functional

from components.training.preference.losses.loss import LossShape


def dpo_loss(differences_P: Tensor, shape: LossShape) -> Tensor:
    """Return each pair's loss, (pairs,); `shape.label_smoothing` is not read."""
    return -functional.logsigmoid(shape.beta * differences_P)
