"""Dr. GRPO (arXiv:2503.20783 §3.2): a constant divisor, so that length earns nothing: w_t = 1 / (answers · max_new_tokens).

The paper also leaves rewards unscaled: set `scale_advantages: none`.
"""

import torch
from torch import Tensor

from components.training.policy.losses.loss import AnswerTokens, ClipRange, PolicyLoss, StepTotals, clipped_objective


def weights(tokens: AnswerTokens, totals: StepTotals) -> Tensor:
    """Return the weight of each token, (tokens,); over a whole step they sum to at most 1."""
    return torch.full_like(tokens.logprobs_T, 1.0 / (totals.answers * totals.max_new_tokens), requires_grad=False)


LOSS = PolicyLoss(objective=clipped_objective, weights=weights, clip=ClipRange(low=0.2, high=0.2))
