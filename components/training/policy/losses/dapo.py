"""DAPO (arXiv:2503.14476 eq. 8): every token of the optimiser step counts alike: w_t = 1 / Σ_i |o_i|.

The range's upper end is the higher one (§3.1), so that a rare good token may gain more than a rare bad one loses.
"""

import torch
from torch import Tensor

from components.training.policy.losses.loss import AnswerTokens, ClipRange, PolicyLoss, StepTotals, clipped_objective


def weights(tokens: AnswerTokens, totals: StepTotals) -> Tensor:
    """Return the weight of each token, (tokens,); over a whole step they sum to 1."""
    return torch.full_like(tokens.logprobs_T, 1.0 / totals.tokens, requires_grad=False)


LOSS = PolicyLoss(objective=clipped_objective, weights=weights, clip=ClipRange(low=0.2, high=0.28))
