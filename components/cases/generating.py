"""Drawing the cases of every task until each split has its share, or the task has no more to give."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from components.cases.case import Case, Split
from components.cases.splitting import split_of
from components.cases.task import Task, word_case
from components.cases.world import World

PATIENCE = 400  # draws in a row that add nothing before a task counts as exhausted
SURPLUS = 2.0  # a task draws more than its share, so that it can stand in for one that is exhausted


@dataclass(frozen=True)
class Splitting:
    """How combinations are shared out."""

    validation_share: float
    test_share: float
    seed: int
    reserved: frozenset[str] = frozenset()

    def split_of(self, combination: str) -> Split:
        """Return the split of a combination."""
        return split_of(
            combination, validation_share=self.validation_share, test_share=self.test_share, seed=self.seed, reserved=self.reserved
        )


def draw_held_out(
    world: World, tasks: Sequence[Task], *, splitting: Splitting, wanted: Mapping[Split, int], is_clean: Callable[[Case], bool]
) -> list[Case]:
    """Draw the validation and test cases of one suite.

    Args:
        wanted: cases of the whole suite for `validation` and `test`; shared evenly by the tasks as far as they reach.
        is_clean: says whether a case may stand.
    Returns:
        Cases sorted by split, task and id; each text once a task.
    """
    share = {split: min(count, math.ceil(count * SURPLUS / len(tasks))) for split, count in wanted.items()}
    drawn = {task.name: _draw(world, task, splitting, share, is_clean) for task in tasks}
    cases: list[Case] = []
    for split, count in wanted.items():
        filled = fill_evenly({name: by_split[split] for name, by_split in drawn.items()}, count)
        cases += [case for name in sorted(filled) for case in sorted(filled[name], key=lambda case: case.id)]
    return cases


def draw_train(world: World, task: Task, *, splitting: Splitting, wanted: int, is_clean: Callable[[Case], bool]) -> list[Case]:
    """Draw the training cases of one task, sorted by id; refused ones are drawn again as long as the task has others."""
    return sorted(_draw(world, task, splitting, {"train": wanted}, is_clean)["train"], key=lambda case: case.id)


def _draw(
    world: World, task: Task, splitting: Splitting, share: Mapping[Split, int], is_clean: Callable[[Case], bool]
) -> dict[Split, list[Case]]:
    cases: dict[Split, list[Case]] = {split: [] for split in share}
    random = Random(f"{splitting.seed}/{'/'.join(share)}/{task.name}")
    seen: set[str] = set()
    idle = 0
    while idle < PATIENCE and any(len(cases[split]) < count for split, count in share.items()):
        idle += 1
        draft = task.draw(world, random)
        split = splitting.split_of(draft.combination) if draft is not None else None
        if draft is None or split not in share or len(cases[split]) >= share[split]:
            continue
        case = word_case(task, draft, split, random)
        if case.prompt in seen or not is_clean(case):
            continue
        seen.add(case.prompt)
        cases[split].append(case)
        idle = 0
    return cases


def fill_evenly(by_task: Mapping[str, list[Case]], total: int) -> dict[str, list[Case]]:
    """Cut tasks' cases to a total: every task as many as any other, as far as it has them."""
    limit = {name: 0 for name in by_task}
    left = min(total, sum(map(len, by_task.values())))
    while left:
        open_tasks = [name for name in sorted(by_task) if limit[name] < len(by_task[name])]
        step = max(1, left // len(open_tasks))
        for name in open_tasks:
            added = min(step, len(by_task[name]) - limit[name], left)
            limit[name] += added
            left -= added
    return {name: cases[: limit[name]] for name, cases in by_task.items()}


def by_suite(cases: Iterable[Case]) -> dict[str, int]:
    """Count cases by suite."""
    counts: dict[str, int] = {}
    for case in cases:
        counts[case.suite] = counts.get(case.suite, 0) + 1
    return dict(sorted(counts.items()))
