"""Stratified draws: tasks in equal shares, and within a task the entities taking turns."""

from collections import Counter
from collections.abc import Callable, Sequence

from components.cases.case import Case
from components.lineage import stable_fraction


def stratified_draw(
    cases: Sequence[Case], *, count: int, seed: int, word: str, rank: Callable[[Case], float] | None = None
) -> list[Case]:
    """Draw up to `count` cases; what a task lacks the others fill.

    The draw depends on ids, seed and word alone, not on the order of the cases.

    Args:
        word: of the draw's purpose, so that two draws differ.
        rank: within a task and entity the largest rank goes first; by chance where absent.
    """

    def order(case: Case) -> tuple[float, float, str]:
        return (-rank(case) if rank else 0.0, stable_fraction(str(seed), word, case.id), case.id)

    by_task: dict[str, dict[str, list[Case]]] = {}
    for case in sorted(cases, key=order):
        by_task.setdefault(case.task, {}).setdefault(case.cluster, []).append(case)
    queues = {task: _take_turns(clusters, seed=seed, word=word) for task, clusters in sorted(by_task.items())}
    drawn: list[Case] = []
    depth = 0
    while len(drawn) < count and any(depth < len(queue) for queue in queues.values()):
        drawn.extend(queue[depth] for queue in queues.values() if depth < len(queue))
        depth += 1
    return drawn[:count]


def count_strata(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Return for each task how many cases and how many entities."""
    cases_of = Counter(case.task for case in cases)
    return {task: {"cases": number, "entities": len({case.cluster for case in cases if case.task == task})} for task, number in sorted(cases_of.items())}


def _take_turns(clusters: dict[str, list[Case]], *, seed: int, word: str) -> list[Case]:
    names = sorted(clusters, key=lambda name: (stable_fraction(str(seed), word, name), name))
    longest = max(len(members) for members in clusters.values())
    return [clusters[name][depth] for depth in range(longest) for name in names if depth < len(clusters[name])]
