"""What choosing is worth: best of N beside the first and a random candidate, under a judge that had no part in it.

The judge is the oracle for general queries and the citation verifier for grounded ones; the queries are of the
validation split, which the reward models never saw. `random` is the mean over all N candidates (the expectation of a
random choice, without its noise); `ceiling` is the judge's own best of N. Where every candidate breaks a rule the
first one stands for the choice, so that the fall-back on the gold answer lends it nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.answers.best_of_n import Query
from components.cases.case import Case
from components.statistics.bootstrap import mean_interval
from components.statistics.paired import paired_difference

Judge = Callable[[Case, str], float | None]
WAYS = ("best_of_n", "first", "random", "ceiling")


def compare_choices(queries: Sequence[Query], judge: Judge, *, seed: int) -> dict[str, Any]:
    """Return, for each way of choosing, mean score with its 95 % interval clustered by entity, and paired differences.

    Unscored candidates are left out; a query with none scored is left out. Empty where no query is left.
    """
    scores: dict[str, list[float]] = {way: [] for way in WAYS}
    clusters = []
    for query in queries:
        values = [judge(query.case, candidate.text) for candidate in query.candidates]
        scored = [value for value in values if value is not None]
        first, chosen = values[0] if values else None, values[query.chosen or 0] if values else None
        if first is None or chosen is None:
            continue
        clusters.append(query.case.cluster)
        for way, value in zip(WAYS, (chosen, first, float(np.mean(scored)), max(scored)), strict=True):
            scores[way].append(value)
    if not clusters:
        return {}
    report: dict[str, Any] = {"queries": len(clusters)}
    for way in WAYS:
        interval = mean_interval(scores[way], clusters, generator=np.random.default_rng(seed))
        report[way] = {"value": interval.value, "low": interval.low, "high": interval.high}
    for other in ("first", "random"):
        difference = paired_difference(scores["best_of_n"], scores[other], clusters, generator=np.random.default_rng(seed))
        report[f"best_of_n_minus_{other}"] = {"value": difference.value, "low": difference.low, "high": difference.high}
    return report
