"""The order in which samples are learnt: level by level, tasks taking turns within a level (report §3.1)."""

from collections.abc import Iterable
from itertools import chain, zip_longest

from components.conversations import Sample
from components.lineage import stable_fraction


def curriculum_order(samples: Iterable[Sample], *, seed: int) -> list[Sample]:
    """Return samples from level 1 to 3; within a level every task gives one sample a turn, in a seeded order.

    A task with many samples goes on alone at the end of its level.
    """
    by_level: dict[int, dict[str, list[Sample]]] = {}
    for sample in samples:
        by_level.setdefault(sample.level, {}).setdefault(sample.task, []).append(sample)
    ordered: list[Sample] = []
    for level in sorted(by_level):
        tasks = by_level[level]
        queues = [sorted(tasks[name], key=lambda sample: (stable_fraction(str(seed), "curriculum", sample.id), sample.id)) for name in sorted(tasks)]
        ordered += [sample for sample in chain.from_iterable(zip_longest(*queues)) if sample is not None]
    return ordered
