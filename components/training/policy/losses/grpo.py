"""GRPO (arXiv:2402.03300 eq. 3): every answer counts alike; its tokens share its weight: w_t = 1 / (answers · |o_i|)."""

from torch import Tensor

from components.training.policy.losses.loss import AnswerTokens, PolicyLoss, StepTotals, clipped_objective


def weights(tokens: AnswerTokens, totals: StepTotals) -> Tensor:
    """Return the weight of each token, (tokens,); over a whole step they sum to 1."""
    return 1.0 / (tokens.lengths_T * totals.answers)


LOSS = PolicyLoss(objective=clipped_objective, weights=weights)
