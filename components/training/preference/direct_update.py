"""The loss of one step's preference pairs against a frozen reference, its gradient, and what is recorded of it.

    L = (1/P) Σ_pairs [ loss(h) − α log π(y_w|x) / |y_w| ],   h = log π/π_ref(y_w|x) − log π/π_ref(y_l|x)

P counts the pairs of the whole optimiser step, so 8 micro-batches of 1 equal 1 of 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from components.errors import Diverged
from components.settings.training import DirectPreferenceSettings
from components.training.engines.engine import Engine
from components.training.engines.ranks import Ranks
from components.training.engines.sharing import Pass
from components.training.preference.answer_logprobs import answer_logprobs, micro_batches
from components.training.preference.bradley_terry import pair_accuracy
from components.training.preference.losses.loss import LossShape
from components.training.preference.losses.registry import PREFERENCE_LOSSES
from components.training.preference.prompt_pairs import PromptPairs, pair_positions


@dataclass(frozen=True)
class ReferencedPairs:
    """Prompts with their pairs, and the reference's log-probability of each prompt's answers, (answers,), float32."""

    groups: Sequence[PromptPairs]
    references: Sequence[Tensor]

    def pairs(self, batch: Sequence[int]) -> int:
        """Return the number of pairs of some groups."""
        return sum(len(self.groups[index].chosen) for index in batch)


@dataclass
class PairStatistics:
    """Sums over pairs; log ratios and log-probabilities in nats."""

    pairs: int = 0
    packed_tokens: int = 0
    chosen_tokens: int = 0
    rejected_tokens: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    likelihood_accuracy: float = 0.0
    chosen_ratio: float = 0.0
    rejected_ratio: float = 0.0
    chosen_loss_a_token: float = 0.0
    gradient_norm: float = 0.0

    def metrics(self, *, beta: float) -> dict[str, float]:
        """Return means over the pairs; rewards are β log π/π_ref, `log_ratio_…` means over answer tokens."""
        pairs = max(1, self.pairs)
        return {
            "loss": self.loss / pairs,
            "accuracy": self.accuracy / pairs,
            "likelihood_accuracy": self.likelihood_accuracy / pairs,
            "reward_chosen": beta * self.chosen_ratio / pairs,
            "reward_rejected": beta * self.rejected_ratio / pairs,
            "margin": beta * (self.chosen_ratio - self.rejected_ratio) / pairs,
            "log_ratio_chosen": self.chosen_ratio / max(1, self.chosen_tokens),
            "log_ratio_rejected": self.rejected_ratio / max(1, self.rejected_tokens),
            "chosen_loss": self.chosen_loss_a_token / pairs,
            "gradient_norm": self.gradient_norm,
        }


def over_ranks(statistics: PairStatistics, ranks: Ranks) -> PairStatistics:
    """Return the sums of all ranks' statistics, which no optimiser step has followed yet."""
    if ranks.size == 1:
        return statistics
    named = [(field.name, getattr(statistics, field.name)) for field in fields(statistics) if field.name != "gradient_norm"]
    totals = ranks.total([value for _, value in named])
    return replace(statistics, **{name: type(value)(total) for (name, value), total in zip(named, totals, strict=True)})


def direct_passes(engine: Engine, groups: Sequence[PromptPairs], batch: Sequence[int], *, micro_tokens: int) -> list[Pass[int]]:
    """Return this rank's passes over a batch of indices of groups."""
    cut = partial(micro_batches, groups, micro_tokens=micro_tokens)
    return engine.passes(batch, tokens=lambda index: groups[index].tokens, cut=cut)


def accumulate_gradients(
    engine: Engine, scored: ReferencedPairs, batch: Sequence[int], *, settings: DirectPreferenceSettings
) -> PairStatistics:
    """Add the gradient of the step's mean loss to the model's parameters, pass by pass; return the whole step's sums.

    Args:
        batch: the step's indices into `scored.groups`.
    """
    statistics, count = PairStatistics(), scored.pairs(batch)
    for part in direct_passes(engine, scored.groups, batch, micro_tokens=settings.micro_tokens):
        sums = statistics if part.is_counted else PairStatistics()
        loss = summed_loss(engine.model, scored, part.items, settings=settings, statistics=sums) / count
        engine.backward(loss, part)
    return over_ranks(statistics, engine.ranks)


@torch.no_grad()
def measure_pairs(engine: Engine, scored: ReferencedPairs, *, settings: DirectPreferenceSettings) -> PairStatistics:
    """Return the statistics of all pairs, without a gradient."""
    statistics = PairStatistics()
    for part in direct_passes(engine, scored.groups, range(len(scored.groups)), micro_tokens=settings.micro_tokens):
        sums = statistics if part.is_counted else PairStatistics()
        summed_loss(engine.model, scored, part.items, settings=settings, statistics=sums)
    return over_ranks(statistics, engine.ranks)


def summed_loss(
    model: PreTrainedModel, scored: ReferencedPairs, micro: Sequence[int], *, settings: DirectPreferenceSettings, statistics: PairStatistics
) -> Tensor:
    """Return the sum of the loss over the pairs of some groups, a scalar, and add to the statistics."""
    groups = [scored.groups[index] for index in micro]
    logprobs_A = answer_logprobs(model, groups, precision=settings.precision, recompute=settings.recompute)
    ratios_A = logprobs_A - torch.cat([scored.references[index] for index in micro])
    lengths_A = torch.tensor([len(ids) for group in groups for _, ids in group.answers], device=logprobs_A.device)
    chosen, rejected = (positions.to(logprobs_A.device) for positions in pair_positions(groups))
    chosen_P, rejected_P = ratios_A.index_select(0, chosen), ratios_A.index_select(0, rejected)
    loss_P = PREFERENCE_LOSSES[settings.loss](chosen_P - rejected_P, LossShape(settings.beta, settings.label_smoothing))
    supervised_P = -(logprobs_A / lengths_A).index_select(0, chosen)
    if settings.supervised_weight:
        loss_P = loss_P + settings.supervised_weight * supervised_P
    loss = loss_P.sum()
    with torch.no_grad():
        statistics.pairs += len(chosen)
        statistics.packed_tokens += sum(group.tokens for group in groups)
        statistics.chosen_tokens += int(lengths_A[chosen].sum())
        statistics.rejected_tokens += int(lengths_A[rejected].sum())
        statistics.loss += float(loss)
        statistics.accuracy += float(pair_accuracy(chosen_P, rejected_P).sum())
        statistics.likelihood_accuracy += float(pair_accuracy(logprobs_A[chosen], logprobs_A[rejected]).sum())
        statistics.chosen_ratio += float(chosen_P.sum())
        statistics.rejected_ratio += float(rejected_P.sum())
        statistics.chosen_loss_a_token += float(supervised_P.sum())
    return loss


def refuse_divergence(metrics: dict[str, float], *, name: str, fall_limit: float) -> None:
    """Stop before a step that would spoil the weights.

    Raises:
        Diverged: loss or gradient norm is not finite, or the preferred answers fell below the reference by more than
            `fall_limit` nats a token: the loss sees the difference of a pair alone, and both its answers may be lost.
    """
    for key in ("loss", "gradient_norm"):
        if metrics[key] - metrics[key] != 0:  # NaN or infinite
            raise Diverged(f"{name}: {key} is {metrics[key]}")
    if -metrics["log_ratio_chosen"] > fall_limit:
        raise Diverged(
            f"{name}: preferred answers are {-metrics['log_ratio_chosen']:.2f} nats a token less probable than under the "
            f"reference, above fall_limit ({fall_limit}); raise beta or supervised_weight"
        )
