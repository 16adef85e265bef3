"""Samples of an earlier tuning mixed into a later one (sft, cold_start), so that it keeps what was taught before."""

from collections.abc import Sequence

from components.conversations import Sample
from components.lineage import stable_fraction


def draw_replay(samples: Sequence[Sample], *, others: int, share: float, seed: int, is_balanced: bool = True) -> list[Sample]:
    """Draw as many samples as make `share` of the whole with `others` other samples.

    The draw depends on ids and seed alone, not on the order of the samples.

    Args:
        is_balanced: the tasks take turns; False: each as often as it stands among the samples.
    """
    wanted = round(others * share / (1.0 - share))
    shuffled = sorted(samples, key=lambda sample: stable_fraction(str(seed), "replay", sample.id))
    return (_in_turns(shuffled) if is_balanced else shuffled)[:wanted]


def _in_turns(samples: Sequence[Sample]) -> list[Sample]:
    tasks: dict[str, list[Sample]] = {}
    for sample in samples:
        tasks.setdefault(sample.task, []).append(sample)
    queues = [tasks[task] for task in sorted(tasks)]
    return [queue[depth] for depth in range(max(map(len, queues), default=0)) for queue in queues if depth < len(queue)]
