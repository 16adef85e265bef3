"""GRPO (arXiv:2402.03300 eq. 3): every answer counts alike; its tokens share its weight: w_t = 1 / (answers · |o_i|).

The clip range is PPO's ±0.2 (arXiv:1707.06347 §6.1); the paper does not give its own.
"""

from torch import Tensor

from components.training.policy.losses.loss import AnswerTokens, ClipRange, PolicyLoss, StepTotals, clipped_objective


def weights(tokens: AnswerTokens, totals: StepTotals) -> Tensor:
    """Return the weight of each token, (tokens,); over a whole step they sum to 1."""
    return 1.0 / (tokens.per_token(tokens.lengths_A.float()) * totals.answers)


LOSS = PolicyLoss(objective=clipped_objective, weights=weights, clip=ClipRange(low=0.2, high=0.2))
