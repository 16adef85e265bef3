"""CISPO (MiniMax-M1, arXiv:2506.13585 eq. 4–5): the importance weight is clipped, never the token: sg(clip(r)) A log π.

Every token keeps a gradient, rare turning points of reasoning too, which clipping the objective silences after one
update. Tokens are averaged as in DAPO. The value is no estimate of the reward: only its gradient means something.

The paper sets no lower bound (low 1: a weight is never below 0) and tunes the upper one without giving it. ScaleRL
(arXiv:2510.13786) clips the weight to [0, ε_max] and finds 4, 5 and 8 alike. Here 1 + high is 5, the bound that TRL's
documentation recommends as ScaleRL's (its `epsilon_high` is the bound itself, not its distance from 1).
"""

import torch

from components.training.policy.losses import dapo
from components.training.policy.losses.loss import AnswerTokens, ClipRange, Objective, PolicyLoss


def weighted_objective(tokens: AnswerTokens, clip: ClipRange) -> Objective:
    """Return sg(clip(r, 1 − low, 1 + high)) · A · log π per token; clipped where the weight was outside the range."""
    with torch.no_grad():
        ratio_T = (tokens.logprobs_T - tokens.old_T).exp()
        weight_T = ratio_T.clamp(1 - clip.low, 1 + clip.high)
    return Objective(weight_T * tokens.advantages_T * tokens.logprobs_T, weight_T.ne(ratio_T))


LOSS = PolicyLoss(objective=weighted_objective, weights=dapo.weights, clip=ClipRange(low=1.0, high=4.0))
