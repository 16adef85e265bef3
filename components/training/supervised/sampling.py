"""Which samples each step sees: a plan made whole before the run, so that the state to resume is a step number.

Every plan is a function of (sizes, settings, seed). Sources of the ideas: mixtures by exact quota (no group strays more
than one sample from its share); curriculum with overlapping levels (easy to hard: Bengio et al. 2009,
doi:10.1145/1553374.1553380, and the report; the overlap is ours, so that early skills are not forgotten).
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from components.errors import DataError, SettingsError


def shuffled_plan(count: int, *, steps: int, batch: int, seed: int) -> list[list[int]]:
    """Return `steps` batches of sample indices, each epoch a new permutation of all samples."""
    stream = _epochs(np.arange(count), steps * batch, np.random.default_rng([seed, 1]))
    return [stream[start : start + batch].tolist() for start in range(0, steps * batch, batch)]


def mixture_plan(
    groups: Sequence[str], *, ratios: Mapping[str, float], steps: int, batch: int, seed: int
) -> list[list[int]]:
    """Return batches in which every group has its share of the samples, as exactly as whole numbers allow.

    Args:
        groups: the group of each sample.
        ratios: share of each group; need not sum to 1.
    Raises:
        SettingsError: a share is negative, or all are 0.
        DataError: a group with a share has no sample.
    """
    total = sum(ratios.values())
    if total <= 0 or min(ratios.values()) < 0:
        raise SettingsError(f"ratios {dict(ratios)}: shares must not be negative and must sum to more than 0")
    names = sorted(name for name, share in ratios.items() if share > 0)
    slots = _quota_slots(np.array([ratios[name] / total for name in names]), steps * batch)
    plan = np.empty(steps * batch, dtype=np.int64)
    labels = np.asarray(groups)
    for position, name in enumerate(names):
        members = np.flatnonzero(labels == name)
        if not len(members):
            raise DataError(
                f"group {name!r} has a share of {ratios[name]} but no sample; known groups: {sorted(set(groups))}"
            )
        places = np.flatnonzero(slots == position)
        plan[places] = _epochs(members, len(places), np.random.default_rng([seed, 2, position]))
    return [plan[start : start + batch].tolist() for start in range(0, len(plan), batch)]


def in_curriculum_order(
    plan: Sequence[Sequence[int]], *, levels: Sequence[int], groups: Sequence[str], overlap: float, seed: int
) -> list[list[int]]:
    """Reorder a plan from easy to hard within each group; every step keeps its groups' counts.

    Args:
        levels: 1 to 3, of each sample.
        groups: of each sample; all alike to order over the whole.
        overlap: in levels; a sample's place is its level plus a uniform number below this. 0: one level after the other.
    """
    sizes = [len(batch) for batch in plan]
    stream = np.array([index for batch in plan for index in batch], dtype=np.int64)
    places = np.asarray(levels)[stream] + np.random.default_rng([seed, 3]).uniform(0, overlap, len(stream))
    labels = np.asarray(groups)[stream]
    ordered = stream.copy()
    for name in sorted(set(labels.tolist())):
        members = np.flatnonzero(labels == name)
        ordered[members] = stream[members[np.argsort(places[members], kind="stable")]]
    bounds = np.cumsum([0, *sizes])
    return [ordered[start:end].tolist() for start, end in itertools.pairwise(bounds)]


def token_plan(lengths: Sequence[int], *, steps: int, batch_tokens: int, seed: int) -> list[list[int]]:
    """Return batches of at most `batch_tokens` tokens (at least one example), epoch after epoch of new permutations."""
    random = np.random.default_rng([seed, 4])
    plan: list[list[int]] = [[]]
    filled = 0
    while True:
        for index in random.permutation(len(lengths)).tolist():
            if plan[-1] and filled + lengths[index] > batch_tokens:
                if len(plan) == steps:
                    return plan
                plan.append([])
                filled = 0
            plan[-1].append(index)
            filled += lengths[index]


def _epochs(members: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` members: whole permutations one after another, the last one cut."""
    if not len(members):
        raise DataError("no samples to train on; look at the report of the stage that makes them")
    rounds = [random.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate([*rounds, members[:0]])[:count]


def _quota_slots(shares: np.ndarray, count: int) -> np.ndarray:
    """Return a group number for each slot: always the group furthest behind its share."""
    behind = np.zeros(len(shares))
    slots = np.empty(count, dtype=np.int64)
    for slot in range(count):
        behind += shares
        slots[slot] = chosen = int(behind.argmax())
        behind[chosen] -= 1
    return slots
