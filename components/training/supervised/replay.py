"""Samples of an earlier tuning mixed into a later one (sft, cold_start), so that it keeps what was taught before."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from components.conversations import Sample
from components.lineage import stable_fraction

T = TypeVar("T")


def draw_replay(
    samples: Sequence[Sample], *, others: int, share: float, seed: int, kinds: Callable[[Sample], str] = lambda sample: ""
) -> list[Sample]:
    """Draw as many samples as make `share` of the whole with `others` other samples: kinds take turns, and tasks within a kind.

    The draw depends on ids and seed alone, not on the order of the samples.

    Args:
        kinds: the kind of a sample, such as its suite; all alike where absent.
    """
    wanted = round(others * share / (1.0 - share))
    shuffled = sorted(samples, key=lambda sample: stable_fraction(str(seed), "replay", sample.id))
    return in_turns(shuffled, kinds, lambda sample: sample.task)[:wanted]


def in_turns(items: Sequence[T], by: Callable[[T], str], *within: Callable[[T], str]) -> list[T]:
    """Return all items, one of each value of `by` after another; each value's own items ordered so by the next key."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    queues = [in_turns(group, *within) if within else group for _, group in sorted(groups.items())]
    return [queue[depth] for depth in range(max(map(len, queues), default=0)) for queue in queues if depth < len(queue)]
