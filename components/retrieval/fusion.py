"""Reciprocal rank fusion of several rankings, then weights by authority and age.

score(d) = sum over rankings of 1 / (k + rank of d), rank from 1 (Cormack et al. 2009), times
authority weight x 0.5 ^ (years older than the newest passage / half-life). A passage of unknown year counts as the oldest.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def fuse_rankings(rankings: Sequence[Sequence[int]], *, k: int) -> dict[int, float]:
    """Return each ranked item's fused score; an item that a ranking leaves out gets nothing from it."""
    fused: dict[int, float] = {}
    for ranking in rankings:
        for position, item in enumerate(ranking, start=1):
            fused[item] = fused.get(item, 0.0) + 1.0 / (k + position)
    return fused


def passage_weights(
    authorities: Sequence[str], years: Sequence[int | None], *, authority_weights: Mapping[str, float], half_life_years: float
) -> NDArray[np.float64]:
    """Return one weight a passage."""
    known = [year for year in years if year is not None]
    newest, oldest = max(known, default=0), min(known, default=0)
    ages = np.array([newest - (oldest if year is None else year) for year in years], dtype=np.float64)
    grades = np.array([authority_weights[authority] for authority in authorities], dtype=np.float64)
    return grades * 0.5 ** (ages / half_life_years)


def top_ranking(scores: NDArray[np.floating], *, count: int) -> list[int]:
    """Return the indices of the `count` largest positive scores, best first, ties by index."""
    order = np.lexsort((np.arange(len(scores)), -scores))[:count]
    return [int(index) for index in order if scores[index] > 0]
