"""Differences between two models on the same items, which is far sharper than comparing two intervals.

Each item's two scores are subtracted first, then the differences are averaged and resampled by cluster
(`components/statistics/bootstrap.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.errors import DataError
from components.statistics.bootstrap import FloatArray, bootstrap_means, cluster_totals, clustered_standard_error


@dataclass(frozen=True)
class PairedDifference:
    """First minus second: mean, two-sided interval, one-sided lower bound, standard error."""

    value: float
    low: float
    high: float
    lower_bound: float
    standard_error: float
    n: int
    clusters: int
    confidence: float

    @property
    def is_shown(self) -> bool:
        """Whether the whole two-sided interval lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class AlignedScores:
    """The scores two models have on the items both were scored on, in the order of the sorted item ids."""

    ids: tuple[str, ...]
    first_N: FloatArray
    second_N: FloatArray
    clusters: tuple[str, ...]
    dropped: int


def align_scores(first: Mapping[str, float | None], second: Mapping[str, float | None], clusters: Mapping[str, str]) -> AlignedScores:
    """Pair two models' scores by item id; items one of them lacks (or left unscored) are dropped and counted.

    Raises:
        DataError: no item is scored for both, so nothing can be compared.
    """
    scored_first = {item for item, score in first.items() if score is not None}
    scored_second = {item for item, score in second.items() if score is not None}
    ids = tuple(sorted(scored_first & scored_second))
    if not ids:
        raise DataError("the two models share no scored item; score both on the same items")
    return AlignedScores(
        ids=ids,
        first_N=np.array([first[item] for item in ids], dtype=np.float64),
        second_N=np.array([second[item] for item in ids], dtype=np.float64),
        clusters=tuple(clusters[item] for item in ids),
        dropped=len(set(first) | set(second)) - len(ids),
    )


def paired_difference(
    first_N: Sequence[float] | FloatArray,
    second_N: Sequence[float] | FloatArray,
    clusters: Sequence[str],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    generator: np.random.Generator,
) -> PairedDifference:
    """Return the mean of first − second with its clustered bootstrap interval.

    Args:
        first_N, second_N: scores of the same N items in the same order.
        clusters: N names; items of one name are drawn together.
        confidence: of the two-sided interval, and of the one-sided `lower_bound`.
    Raises:
        DataError: the lengths differ, or there is no item.
    """
    first, second = np.asarray(first_N, dtype=np.float64), np.asarray(second_N, dtype=np.float64)
    if first.shape != second.shape:
        raise DataError(f"{len(first)} scores against {len(second)}: a paired difference needs the same items")
    totals = cluster_totals(first - second, clusters)
    means_D = bootstrap_means(totals, draws=draws, generator=generator)
    tail = (1.0 - confidence) / 2.0
    low, high, lower_bound = np.quantile(means_D, [tail, 1.0 - tail, 1.0 - confidence])
    return PairedDifference(
        value=totals.mean,
        low=float(low),
        high=float(high),
        lower_bound=float(lower_bound),
        standard_error=clustered_standard_error(totals),
        n=len(clusters),
        clusters=len(totals.sums_C),
        confidence=confidence,
    )
