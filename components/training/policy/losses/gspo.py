"""GSPO (arXiv:2507.18071 eq. 5–7): ratio and clipping of whole answers, so that an answer is taken or left as one.

s_i = exp(mean_t log r_it); the objective is the mean over answers of min(s_i A_i, clip(s_i) A_i), and its gradient
s_i A_i · mean_t ∇ log π. Each token carries its answer's value with GRPO's weight 1 / (answers · |o_i|), which sums to
the same; the KL penalty, which the paper does without, stays per token.

A mean over an answer moves far less than a single token: the range is 3e-4 below and 4e-4 above (§5.1), hundreds of
times narrower than a token's. With one update a rollout the ratio is 1 and GSPO equals GRPO.
"""

from components.training.policy.losses import grpo
from components.training.policy.losses.loss import (
    AnswerTokens,
    ClipRange,
    Objective,
    PolicyLoss,
    answer_means,
    clip_ratio,
)


def sequence_objective(tokens: AnswerTokens, clip: ClipRange) -> Objective:
    """Return min(s A, clip(s, 1 − low, 1 + high) A) of the answer at each of its tokens."""
    ratio_A = answer_means(tokens.logprobs_T - tokens.old_T, tokens.lengths_A).exp()
    return clip_ratio(tokens.per_token(ratio_A), tokens.advantages_T, clip)


LOSS = PolicyLoss(objective=sequence_objective, weights=grpo.weights, clip=ClipRange(low=3e-4, high=4e-4))
