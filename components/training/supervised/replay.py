"""Instruction samples mixed into a later tuning (sft, cold_start), so that it keeps what instruction tuning taught."""

from collections.abc import Sequence

from components.conversations import Sample
from components.lineage import stable_fraction


def draw_replay(samples: Sequence[Sample], *, others: int, share: float, seed: int) -> list[Sample]:
    """Draw as many samples as make `share` of the whole with `others` other samples, the tasks taking turns.

    The draw depends on ids and seed alone, not on the order of the samples.
    """
    wanted = round(others * share / (1.0 - share))
    tasks: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: stable_fraction(str(seed), "replay", sample.id)):
        tasks.setdefault(sample.task, []).append(sample)
    drawn: list[Sample] = []
    queues = [tasks[task] for task in sorted(tasks)]
    depth = 0
    while len(drawn) < wanted and any(depth < len(queue) for queue in queues):
        drawn.extend(queue[depth] for queue in queues if depth < len(queue))
        depth += 1
    return drawn[:wanted]
