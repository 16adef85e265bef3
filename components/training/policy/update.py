"""One optimiser step on a batch of groups.

In a rollout's first update the old policy is the current one: its log-probabilities are the current ones, detached, and
no pass is spent on them (later ones: rollout_updates.py). The reference is scored in the same way, with the same
packing, as the policy, so that where the weights are equal the log-probabilities are equal. With adapters it is the
policy itself, its adapters off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from time import perf_counter

import torch
from transformers import PreTrainedModel

from components.errors import Diverged
from components.settings.training import PolicySettings
from components.training.engines.engine import Engine
from components.training.engines.ranks import Ranks
from components.training.engines.sharing import Pass
from components.training.floors import settled_clock
from components.training.policy.answer_tokens import answer_tokens, sampler_logprobs
from components.training.policy.groups import LiveGroup, micro_batches
from components.training.policy.importance import SamplerCorrection, sampler_correction
from components.training.policy.losses.loss import LossParts, StepTotals, clip_range, policy_loss
from components.training.policy.losses.registry import LOSSES
from components.training.policy.scoring import answer_logprobs, pack_groups


@dataclass
class UpdateStatistics:
    """Sums over the answer tokens of one optimiser step."""

    tokens: int = 0
    packed_tokens: int = 0
    loss: float = 0.0
    kl_sum: float = 0.0
    clipped_sum: float = 0.0
    entropy_sum: float = 0.0
    sampler_gap_sum: float = 0.0
    capped_sum: float = 0.0
    masked_sum: float = 0.0
    ratio_error: float = 0.0
    gradient_norm: float = 0.0
    seconds_old: float = 0.0
    seconds_reference: float = 0.0
    seconds_policy: float = 0.0
    seconds_optimiser: float = 0.0

    def add(self, parts: LossParts, correction: SamplerCorrection, *, entropy_sum: float, gap_sum: float) -> None:
        """Add the sums of a micro-batch; the gap is |log π_old − log s|."""
        self.loss += float(parts.loss.detach())
        self.kl_sum += parts.kl_sum
        self.clipped_sum += parts.clipped_sum
        self.ratio_error = max(self.ratio_error, parts.ratio_error)
        self.entropy_sum += entropy_sum
        self.sampler_gap_sum += gap_sum
        self.capped_sum += correction.capped
        self.masked_sum += correction.masked

    def metrics(self) -> dict[str, float]:
        """Return means over the step's answer tokens."""
        tokens = max(self.tokens, 1)
        return {
            "loss": self.loss,
            "kl": self.kl_sum / tokens,
            "entropy": self.entropy_sum / tokens,
            "clip_share": self.clipped_sum / tokens,
            "sampler_gap": self.sampler_gap_sum / tokens,
            "importance_capped_share": self.capped_sum / tokens,
            "importance_masked_share": self.masked_sum / tokens,
            "ratio_error": self.ratio_error,
            "gradient_norm": self.gradient_norm,
            "update_tokens": float(self.tokens),
            "packed_tokens": float(self.packed_tokens),
            "seconds_old": self.seconds_old,
            "seconds_reference": self.seconds_reference,
            "seconds_policy": self.seconds_policy,
            "seconds_optimiser": self.seconds_optimiser,
        }


LARGEST = ("ratio_error",)  # over ranks; the other numbers add up
OF_RANK = ("gradient_norm", "seconds_old", "seconds_reference", "seconds_policy", "seconds_optimiser")  # each rank's own


def over_ranks(statistics: UpdateStatistics, ranks: Ranks) -> UpdateStatistics:
    """Return the statistics of the whole step from those of each rank's passes; seconds stay this rank's."""
    if ranks.size == 1:
        return statistics
    summed = [field.name for field in fields(statistics) if field.name not in (*LARGEST, *OF_RANK)]
    totals = dict(zip(summed, ranks.total([getattr(statistics, name) for name in summed]), strict=True))
    peaks = dict(zip(LARGEST, ranks.largest([getattr(statistics, name) for name in LARGEST]), strict=True))
    counts = {name: int(totals[name]) for name in ("tokens", "packed_tokens")}
    return replace(statistics, **{**totals, **peaks, **counts})


def policy_passes(engine: Engine, groups: Sequence[LiveGroup], *, settings: PolicySettings) -> list[Pass[LiveGroup]]:
    """Return this rank's passes over a step's groups."""
    return engine.passes(
        groups, tokens=lambda group: group.packed_tokens, cut=lambda share: micro_batches(share, settings.micro_tokens)
    )


def accumulate_gradients(
    engine: Engine, reference: PreTrainedModel | None, groups: Sequence[LiveGroup], *, settings: PolicySettings
) -> UpdateStatistics:
    """Add the gradient of the step's policy loss to the model's parameters, pass by pass; return the whole step's sums.

    Args:
        reference: model of the KL penalty, read with its adapters off: a frozen one, or the policy itself where that carries
            adapters; None without a penalty.
    """
    answers = [answer for group in groups for answer in group.answers]
    totals = StepTotals(len(answers), sum(len(answer.ids) for answer in answers), settings.max_new_tokens)
    variant = LOSSES[settings.loss]
    clip = clip_range(variant, low=settings.clip_low, high=settings.clip_high)
    statistics = UpdateStatistics()
    for part in policy_passes(engine, groups, settings=settings):
        batch = part.items
        started = perf_counter()
        packed = pack_groups(batch, device=engine.whole.device)
        scoring = {"temperature": settings.temperature, "precision": settings.precision}
        with torch.no_grad():
            reference_T = answer_logprobs(reference, packed, with_entropy=False, adapters="off", **scoring)[0] if reference is not None else None
        scored = settled_clock(engine.whole.device)
        logprobs_T, entropy_T = answer_logprobs(engine.model, packed, recompute=settings.recompute, **scoring)
        tokens = answer_tokens(batch, logprobs_T, reference_T=reference_T, entropy_T=entropy_T)
        gap_T = tokens.old_T - sampler_logprobs(batch).to(tokens.old_T.device)
        correction = sampler_correction(
            gap_T, tokens.lengths_A, cap=settings.importance_cap, gap_limit=settings.sequence_gap_limit
        )
        parts = policy_loss(
            variant, replace(tokens, importance_T=correction.weights_T), totals=totals, clip=clip,
            kl=settings.kl, kl_weight=settings.kl_weight, entropy_weight=settings.entropy_weight,
        )  # fmt: skip
        engine.backward(parts.loss, part)
        if not part.is_counted:
            continue
        statistics.add(parts, correction, entropy_sum=float(entropy_T.detach().sum()), gap_sum=float(gap_T.abs().sum()))
        statistics.tokens += logprobs_T.numel()
        statistics.packed_tokens += sum(group.packed_tokens for group in batch)
        statistics.seconds_reference += scored - started
        statistics.seconds_policy += perf_counter() - scored
    return over_ranks(statistics, engine.ranks)


def update_policy(
    engine: Engine,
    reference: PreTrainedModel | None,
    groups: Sequence[LiveGroup],
    *,
    settings: PolicySettings,
    learning_rate: float,
) -> UpdateStatistics:
    """Take one optimiser step.

    Raises:
        Diverged: the loss or the gradient is not finite, or the KL to the reference is above `kl_limit`; the weights
            are those before the step.
    """
    statistics = accumulate_gradients(engine, reference, groups, settings=settings)
    try:
        refuse_divergence(statistics, kl_limit=settings.kl_limit)
    except Diverged as error:
        error.values["gradient_norm"] = engine.gradient_norm()
        engine.clear()
        raise
    started = perf_counter()
    statistics.gradient_norm = engine.step(rate=learning_rate, clip_norm=settings.optimiser.clip_norm)
    statistics.seconds_optimiser = settled_clock(engine.whole.device) - started
    refuse_divergence(statistics, kl_limit=settings.kl_limit)
    return statistics


def refuse_divergence(statistics: UpdateStatistics, *, kl_limit: float) -> None:
    """Stop before a step that would spoil the weights.

    Raises:
        Diverged: see `update_policy`.
    """
    values = statistics.metrics()
    for name in ("loss", "gradient_norm", "kl"):
        if values[name] - values[name] != 0:  # NaN or infinite
            raise Diverged(f"{name} is {values[name]}; lower optimiser.learning_rate, or raise kl_weight", values=values)
    if values["kl"] > kl_limit:
        raise Diverged(
            f"KL to the reference is {values['kl']:.2f} nats a token, above kl_limit ({kl_limit}): the policy has left "
            "the text it was tuned on; lower optimiser.learning_rate, or raise kl_weight",
            values=values,
        )
