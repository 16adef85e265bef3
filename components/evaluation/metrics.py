"""Numbers of the evaluation: each model's value on each suite with its interval, and what it is made of.

A suite's value is the mean over cases of a case's mean over its samplings; `n` counts cases. The interval is the
clustered bootstrap of `components/statistics/bootstrap.py`; it does not cover training seeds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from components.evaluation.results import ItemResult, case_scores, headline
from components.evaluation.suites import CLOSED_BOOK, RETRIEVAL, SUITE_MODES
from components.lineage import digest_value
from components.statistics.bootstrap import Interval, mean_interval
from components.statistics.paired import align_scores, paired_difference

Results = Mapping[str, Sequence[ItemResult]]


def interval_generator(seed: int, *words: str) -> np.random.Generator:
    """Return the generator of one interval, so that no interval depends on which others were computed."""
    return np.random.default_rng(int(digest_value([seed, *words])[:16], 16))


def rows_interval(rows: Sequence[ItemResult], *, confidence: float, draws: int, generator: np.random.Generator) -> Interval | None:
    """Return the mean over cases with its interval; None where nothing was scored."""
    cases = case_scores(rows)
    if not cases.scores:
        return None
    ids = list(cases.scores)
    return mean_interval(
        [cases.scores[case] for case in ids], [cases.clusters[case] for case in ids],
        confidence=confidence, draws=draws, generator=generator,
    )  # fmt: skip


def suite_metrics(results: Results, *, seed: int, confidence: float, draws: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return {model: {suite: {value, low, high, n}}} for every suite that has a scored case."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for model, rows in results.items():
        metrics[model] = {}
        for suite in SUITE_MODES:
            interval = rows_interval(headline(rows, suite), confidence=confidence, draws=draws, generator=interval_generator(seed, model, suite))
            if interval is not None:
                metrics[model][suite] = {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
    return metrics


def breakdowns(results: Results, *, seed: int, confidence: float, draws: int) -> list[dict[str, Any]]:
    """Return one row a (model, suite, condition, cell): exam level × type × retrieval, probes by set and leading text, tasks."""
    table = []
    for model, rows in results.items():
        cells: defaultdict[tuple[str, str, str], list[ItemResult]] = defaultdict(list)
        for row in rows:
            cells[row.suite, row.condition, row.cell].append(row)
        for (suite, condition, cell), members in sorted(cells.items()):
            generator = interval_generator(seed, model, suite, condition, cell)
            interval = rows_interval(members, confidence=confidence, draws=draws, generator=generator)
            if interval is not None:
                table.append({"model": model, "suite": suite, "condition": condition, "cell": cell, **interval.as_dict()})
    return table


def answer_counts(results: Results) -> list[dict[str, Any]]:
    """Return one row a (model, suite, condition): answers, those nothing could be read from, those no grader could score."""
    counts: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for model, rows in results.items():
        for row in rows:
            entry = counts[model, row.suite, row.condition]
            entry[0] += 1
            entry[1] += row.is_abstained
            entry[2] += row.score is None
    return [
        {"model": model, "suite": suite, "condition": condition, "answers": total, "abstained": abstained, "unscored": unscored}
        for (model, suite, condition), (total, abstained, unscored) in counts.items()
    ]


def retrieval_effects(results: Results, *, seed: int, confidence: float, draws: int) -> list[dict[str, Any]]:
    """Return one row a model: the examination with passages minus without, paired on the questions asked both ways."""
    effects = []
    for model, rows in results.items():
        exam = {condition: case_scores(row for row in rows if row.suite == "exam" and row.condition == condition) for condition in (RETRIEVAL, CLOSED_BOOK)}
        if not exam[RETRIEVAL].scores.keys() & exam[CLOSED_BOOK].scores.keys():
            continue
        asked_both = {case: score for case, score in exam[CLOSED_BOOK].scores.items() if case in exam[RETRIEVAL].scores}
        aligned = align_scores(exam[RETRIEVAL].scores, asked_both, exam[RETRIEVAL].clusters)
        difference = paired_difference(
            aligned.first_N, aligned.second_N, aligned.clusters,
            confidence=confidence, draws=draws, generator=interval_generator(seed, model, "retrieval effect"),
        )  # fmt: skip
        effects.append({"model": model, "with": float(aligned.first_N.mean()), "without": float(aligned.second_N.mean()), **asdict(difference)})
    return effects
