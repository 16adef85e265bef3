"""The Bradley–Terry loss of reward models, with margin and centring.

    −log σ(r_c − r_r − margin) + λ (r_c + r_r)²

arXiv:2203.02155 §3.5 (pairs of one prompt together), 2307.09288 §3.2.2 (margin), 2312.09244 (centring, λ 0.01: fixes
the constant that the pairwise term leaves free).
"""

import torch
from torch import Tensor
from torch.nn import functional


def bradley_terry_loss(chosen_P: Tensor, rejected_P: Tensor, *, margins_P: Tensor, centring: float) -> Tensor:
    """Return the sum over pairs of the loss, a scalar; divide by the pairs of the whole step.

    Args:
        chosen_P: (pairs,), reward of the preferred answers; `rejected_P` of the others.
        margins_P: (pairs,), at least 0, in units of reward.
        centring: λ.
    """
    pairwise_P = -functional.logsigmoid(chosen_P - rejected_P - margins_P)
    return (pairwise_P + centring * (chosen_P + rejected_P).square()).sum()


@torch.no_grad()
def pair_accuracy(chosen_P: Tensor, rejected_P: Tensor) -> Tensor:
    """Return 1 where the preferred answer has the higher reward, 0.5 at a tie, else 0: (pairs,), float32."""
    return (chosen_P > rejected_P).float() + 0.5 * (chosen_P == rejected_P).float()
