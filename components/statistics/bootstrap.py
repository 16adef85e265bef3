"""Intervals of a mean by the clustered percentile bootstrap.

Items about one disease rise and fall together, so whole clusters are drawn with replacement, never single items
(Davison & Hinkley 1997, §3.8; Miller 2024, arXiv:2411.00640 §2.2 for language-model evaluations). The mean of a draw
is the ratio (sum of scores) / (number of items) over the drawn clusters.

Not covered: the spread over training seeds. An interval says how far the score would move with other items of the
same kind, for the model at hand.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from components.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class ClusterTotals:
    """What the bootstrap needs of the items: the sum of scores and the number of items of each cluster."""

    sums_C: FloatArray
    counts_C: FloatArray

    @property
    def mean(self) -> float:
        """The mean over all items."""
        return float(self.sums_C.sum() / self.counts_C.sum())


def cluster_totals(values: Sequence[float] | FloatArray, clusters: Sequence[str]) -> ClusterTotals:
    """Add the values up by cluster, clusters in sorted order.

    Raises:
        DataError: no values, a value that is not finite, or not one cluster name a value.
    """
    values_N = np.asarray(values, dtype=np.float64)
    if values_N.ndim != 1 or len(values_N) != len(clusters):
        raise DataError(f"{values_N.shape} values but {len(clusters)} cluster names; give each item one of both")
    if not len(values_N):
        raise DataError("no items to average; an interval needs at least one scored item")
    if not np.isfinite(values_N).all():
        raise DataError("a score is not a finite number; leave unscored items out and count them")
    _, index_N = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return ClusterTotals(np.bincount(index_N, weights=values_N), np.bincount(index_N).astype(np.float64))


def bootstrap_means(totals: ClusterTotals, *, draws: int, generator: np.random.Generator) -> FloatArray:
    """Return the means of `draws` resamples of whole clusters.

    Args:
        totals: sums and counts of C clusters.
        draws: number of resamples D.
    Returns:
        (D,) float64.
    """
    clusters = len(totals.sums_C)
    times_drawn_DC = generator.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=draws).astype(np.float64)
    means_D: FloatArray = (times_drawn_DC @ totals.sums_C) / (times_drawn_DC @ totals.counts_C)
    return means_D


def mean_interval(
    values: Sequence[float] | FloatArray,
    clusters: Sequence[str],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    generator: np.random.Generator,
) -> Interval:
    """Return the mean and its two-sided percentile interval, clusters drawn whole.

    Args:
        values: N scores.
        clusters: N names; items of one name are drawn together.
        confidence: probability the interval is meant to hold, in (0, 1).
        draws: bootstrap resamples.
    Raises:
        DataError: no values, or values and clusters of different length.
    """
    totals = cluster_totals(values, clusters)
    means_D = bootstrap_means(totals, draws=draws, generator=generator)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means_D, [tail, 1.0 - tail])
    return Interval(totals.mean, float(low), float(high), len(clusters), len(totals.sums_C))


def clustered_standard_error(totals: ClusterTotals) -> float:
    """Return the cluster-robust standard error of the mean.

    sqrt(C/(C-1) · Σ_c (S_c − n_c·m)²) / N, with S_c a cluster's sum, n_c its items, m the mean and N all items
    (linearisation of the ratio, Cochran 1977 §9A). One cluster has no spread to measure: infinity.
    """
    clusters = len(totals.sums_C)
    if clusters < 2:
        return float("inf")
    residuals_C = totals.sums_C - totals.counts_C * totals.mean
    return float(np.sqrt(clusters / (clusters - 1) * np.square(residuals_C).sum()) / totals.counts_C.sum())
