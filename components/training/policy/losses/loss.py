"""What every policy loss is made of: an objective per token and a weight per token that sums over the whole step.

The weights are computed from the totals of the whole optimiser step, never from a micro-batch, so that the loss and
its gradient do not depend on how the step is cut into micro-batches. Numerator and denominator use one mask, that of
the answers laid into `AnswerTokens` (no pad, no dropped group, no masked answer). A micro-batch holds whole answers, so
an objective may also look at an answer as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from components.training.policy.kl import KL_ESTIMATORS


@dataclass(frozen=True)
class AnswerTokens:
    """Tokens of some of a step's answers, laid end to end; fields `_T` are (tokens,), float32.

    `lengths_A` is (answers,), int64: the tokens of each answer. `reference_T` is None without a KL penalty, `entropy_T`
    (of the policy at each token, nats) without an entropy bonus, `importance_T` (see importance.py) without a correction.
    """

    logprobs_T: Tensor
    old_T: Tensor
    reference_T: Tensor | None
    advantages_T: Tensor
    lengths_A: Tensor
    entropy_T: Tensor | None = None
    importance_T: Tensor | None = None

    def per_token(self, values_A: Tensor) -> Tensor:
        """Return each answer's value at each of its tokens, (tokens,)."""
        return values_A.repeat_interleave(self.lengths_A)


@dataclass(frozen=True)
class StepTotals:
    """Counts over the whole optimiser step, after all masks."""

    answers: int
    tokens: int
    max_new_tokens: int


@dataclass(frozen=True)
class ClipRange:
    """The ratio is clipped to [1 − low, 1 + high]."""

    low: float
    high: float


@dataclass(frozen=True)
class Objective:
    """What a token is worth (to be maximised), and whether the clip range changed its gradient; both (tokens,)."""

    value_T: Tensor
    is_clipped_T: Tensor


@dataclass(frozen=True)
class PolicyLoss:
    """One variant: what a token is worth, how tokens are averaged, and the clip range its source trained with."""

    objective: Callable[[AnswerTokens, ClipRange], Objective]
    weights: Callable[[AnswerTokens, StepTotals], Tensor]
    clip: ClipRange


@dataclass(frozen=True)
class LossParts:
    """The loss of a micro-batch (sums over micro-batches give the step's), and sums over its tokens for the record."""

    loss: Tensor
    kl_sum: float
    clipped_sum: float
    ratio_error: float


def clip_range(variant: PolicyLoss, *, low: float | None, high: float | None) -> ClipRange:
    """Return the variant's own clip range, either end replaced where one is given."""
    return ClipRange(variant.clip.low if low is None else low, variant.clip.high if high is None else high)


def clipped_objective(tokens: AnswerTokens, clip: ClipRange) -> Objective:
    """Return min(r A, clip(r, 1 − low, 1 + high) A) per token, with r = π_θ / π_old (arXiv:2402.03300 eq. 3)."""
    return clip_ratio((tokens.logprobs_T - tokens.old_T).exp(), tokens.advantages_T, clip)


def answer_means(values_T: Tensor, lengths_A: Tensor) -> Tensor:
    """Return the mean of each answer's tokens, (answers,); 0 for an answer without any."""
    owner_T = torch.arange(len(lengths_A), device=lengths_A.device).repeat_interleave(lengths_A)
    return values_T.new_zeros(len(lengths_A)).index_add(0, owner_T, values_T) / lengths_A.clamp(min=1)


def clip_ratio(ratio_T: Tensor, advantages_T: Tensor, clip: ClipRange) -> Objective:
    """Return min(r A, clip(r) A) (arXiv:1707.06347 eq. 7); a gradient is cut where the ratio left the range A's way."""
    clipped_T = ratio_T.clamp(1 - clip.low, 1 + clip.high)
    value_T = torch.minimum(ratio_T * advantages_T, clipped_T * advantages_T)
    with torch.no_grad():
        is_clipped_T = ((ratio_T < 1 - clip.low) & (advantages_T < 0)) | ((ratio_T > 1 + clip.high) & (advantages_T > 0))
    return Objective(value_T, is_clipped_T)


def policy_loss(
    variant: PolicyLoss,
    tokens: AnswerTokens,
    *,
    totals: StepTotals,
    clip: ClipRange,
    kl: str,
    kl_weight: float,
    entropy_weight: float = 0.0,
) -> LossParts:
    """Return −Σ_t w_t (ρ_t (objective_t − β KL_t) + λ H_t) over the given tokens, ρ the importance weight.

    Args:
        kl: key of `KL_ESTIMATORS`.
        kl_weight: β; 0 leaves the reference out.
        entropy_weight: λ, of the entropy H in nats.
    """
    weights_T = variant.weights(tokens, totals)
    objective = variant.objective(tokens, clip)
    value_T = objective.value_T
    ratio_T = (tokens.logprobs_T - tokens.old_T).exp()
    kl_sum = 0.0
    if tokens.reference_T is not None:
        value_T = value_T - kl_weight * KL_ESTIMATORS[kl](tokens.logprobs_T, tokens.reference_T, ratio_T)
        with torch.no_grad():
            kl_sum = float(KL_ESTIMATORS["k3"](tokens.logprobs_T, tokens.reference_T, ratio_T).sum())
    if tokens.importance_T is not None:
        value_T = value_T * tokens.importance_T
    if tokens.entropy_T is not None and entropy_weight:
        value_T = value_T + entropy_weight * tokens.entropy_T
    with torch.no_grad():
        error = float((ratio_T - 1).abs().max()) if ratio_T.numel() else 0.0
    return LossParts(-(weights_T * value_T).sum(), kl_sum, float(objective.is_clipped_T.sum()), error)
