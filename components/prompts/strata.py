"""Stratified draws: tasks in equal shares, and within a task the entities taking turns."""

from collections import Counter
from collections.abc import Callable, Sequence

from components.cases.case import Case
from components.lineage import stable_fraction
from components.turns import in_turns


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

    def entity(case: Case) -> tuple[float, str]:
        return stable_fraction(str(seed), word, case.cluster), case.cluster

    return in_turns(sorted(cases, key=order), lambda case: case.task, entity)[:count]


def count_strata(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Return for each task how many cases and how many entities."""
    cases_of = Counter(case.task for case in cases)
    return {task: {"cases": number, "entities": len({case.cluster for case in cases if case.task == task})} for task, number in sorted(cases_of.items())}
