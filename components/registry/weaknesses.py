"""Where a model fails most: its tasks with the lowest scores on held-out cases, with intervals; part of the model card."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from components.evaluation.metrics import interval_generator, rows_interval
from components.evaluation.results import ItemResult
from components.evaluation.suites import RETRIEVAL
from components.settings.settings import Settings

MINIMUM_CASES = 10  # of fewer the mean says little
NAMED = 5


def weakest_tasks(rows: Sequence[ItemResult], *, settings: Settings) -> list[dict[str, Any]]:
    """Return the lowest-scoring tasks, lowest first: {suite, task, value, low, high, n, abstained}.

    `abstained` is the share of answers nothing could be read from. Tasks with fewer than `MINIMUM_CASES` scored cases and
    questions asked with passages are left out.
    """
    tasks: defaultdict[tuple[str, str], list[ItemResult]] = defaultdict(list)
    for row in rows:
        if row.condition != RETRIEVAL:
            tasks[row.suite, row.task].append(row)
    found = []
    for (suite, task), members in sorted(tasks.items()):
        generator = interval_generator(settings.run.seed, "weakest", suite, task)
        interval = rows_interval(members, confidence=settings.evaluate.confidence, draws=settings.evaluate.bootstrap_draws, generator=generator)
        if interval is not None and interval.n >= MINIMUM_CASES:
            abstained = sum(row.is_abstained for row in members) / len(members)
            found.append({"suite": suite, "task": task, "value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n, "abstained": abstained})
    return sorted(found, key=lambda item: item["value"])[:NAMED]
