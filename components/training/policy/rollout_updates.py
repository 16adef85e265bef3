"""The optimiser steps of one rollout: its groups cut into as many mini-batches, each used once (arXiv:2503.14476 §4.1).

With one update the old policy is the current one and nothing is scored twice. With more, the groups are cut, in the
order they were drawn, into parts of equal size (to one group), as DAPO and GSPO do, rather than passed over again: no
answer is learnt from twice. The old policy of every part is the one that drew the answers, so its log-probabilities are
taken once, before the first step, with the same packing as in the update; the first part still needs none. From the
second step on the ratio leaves 1 and the clip range matters. A loss's totals are those of its own part.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import torch
from transformers import PreTrainedModel

from components.settings.training import PolicySettings
from components.training.engines.engine import Engine
from components.training.floors import settled_clock
from components.training.policy.groups import LiveGroup
from components.training.policy.scoring import answer_logprobs, pack_groups
from components.training.policy.update import UpdateStatistics, policy_passes, update_policy


def update_on_rollout(
    engine: Engine,
    reference: PreTrainedModel | None,
    groups: Sequence[LiveGroup],
    *,
    settings: PolicySettings,
    learning_rate: float,
) -> list[UpdateStatistics]:
    """Take `settings.updates_per_rollout` optimiser steps on a rollout (fewer where it has fewer groups); see `update_policy`.

    Returns:
        The statistics of each step.
    Raises:
        Diverged: see `update_policy`; the weights are those after the steps before.
    """
    parts = cut_evenly(groups, settings.updates_per_rollout)
    started = perf_counter()
    parts = parts[:1] + [with_old_logprobs(engine, part, settings=settings) for part in parts[1:]]
    seconds_old = settled_clock(engine.whole.device) - started
    updates = [
        update_policy(engine, reference, part, settings=settings, learning_rate=learning_rate) for part in parts
    ]
    if updates:
        updates[0].seconds_old = seconds_old
    return updates


def cut_evenly(groups: Sequence[LiveGroup], parts: int) -> list[list[LiveGroup]]:
    """Cut groups, in order, into at most `parts` parts whose sizes differ by one at most; none is empty."""
    count = min(parts, len(groups))
    edges = [len(groups) * index // count for index in range(count + 1)] if count else []
    return [list(groups[first:last]) for first, last in pairwise(edges)]


@torch.no_grad()
def with_old_logprobs(engine: Engine, groups: Sequence[LiveGroup], *, settings: PolicySettings) -> list[LiveGroup]:
    """Return the groups, those of this rank's passes with the log-probabilities of their answers under the model as it is now.

    The passes are those of the update, so that what a rank needs of the old policy it has scored itself.
    """
    scoring = {"temperature": settings.temperature, "precision": settings.precision}
    scored: dict[int, LiveGroup] = {}
    for part in policy_passes(engine, groups, settings=settings):
        old_T, _ = answer_logprobs(engine.model, pack_groups(part.items, device=engine.whole.device), with_entropy=False, **scoring)
        pieces = old_T.split([group.answer_tokens for group in part.items])
        scored |= {id(group): replace(group, old_T=piece) for group, piece in zip(part.items, pieces, strict=True)}
    return [scored.get(id(group), group) for group in groups]


def whole_rollout(updates: Sequence[UpdateStatistics]) -> UpdateStatistics:
    """Return a rollout's statistics: sums over its steps, the mean of their losses, the largest norm and ratio error."""
    if len(updates) < 2:
        return updates[0] if updates else UpdateStatistics()
    sums = {name: sum(getattr(update, name) for update in updates) for name in vars(updates[0])}
    largest = {name: max(getattr(update, name) for update in updates) for name in ("gradient_norm", "ratio_error")}
    return UpdateStatistics(**sums | largest | {"loss": sums["loss"] / len(updates)})
