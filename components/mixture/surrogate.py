"""The Gaussian process over ratios: what the tried points say about each other, and which groups matter.

Matérn 5/2 with one length scale plus noise, fitted to (ratios, score) by marginal likelihood (Rasmussen & Williams
2006, ch. 5). It serves two ends:
  choice      the tried mix with the highest posterior mean. The best observed score is the luckiest of noisy numbers;
              the posterior mean shrinks it towards its neighbours. Only tried mixes are eligible: with a dozen points a
              maximum elsewhere would be extrapolation.
  importance  the share of the posterior mean's variance over the simplex that a group's ratio explains alone (first
              order Sobol index, by bins; Saltelli et al. 2008, §1.2.5).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.mixture.simplex import random_ratios

FloatArray = NDArray[np.float64]
BINS = 16
LEAST_NOISE = 0.05  # of the scores' variance: what another seed changes, which trials of one seed cannot show (measured 4 to 40 %)
POINTS = 4096


class Surrogate:
    """A fitted process; `mean` is its posterior mean."""

    def __init__(self, mixes: Sequence[Mapping[str, float]], scores: Sequence[float], groups: Sequence[str]) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self.groups = list(groups)
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(0.5, (0.1, 3.0), nu=2.5) + WhiteKernel(0.1, (LEAST_NOISE, 2.0))
        self._regressor = GaussianProcessRegressor(kernel=kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0)
        self._is_flat = float(np.ptp(scores)) == 0.0
        self._level = float(np.mean(scores))
        if not self._is_flat:
            with np.errstate(all="ignore"):
                _fit_quietly(self._regressor, self._matrix(mixes), np.asarray(scores, dtype=np.float64))

    def mean(self, mixes: Sequence[Mapping[str, float]]) -> FloatArray:
        """Return the posterior mean at each mix, (mixes,)."""
        return self._mean(self._matrix(mixes))

    def importance(self, *, floor: float, generator: np.random.Generator) -> dict[str, float]:
        """Return each group's first-order share of the variance, 0 to 1; all 0 where no score differed."""
        points_NK = random_ratios(self.groups, floor=floor, count=POINTS, generator=generator)
        means_N = self._mean(points_NK)
        variance = float(means_N.var())
        if variance < 1e-12:
            return dict.fromkeys(self.groups, 0.0)
        shares = {}
        for position, group in enumerate(self.groups):
            binned = np.array_split(means_N[np.argsort(points_NK[:, position])], BINS)
            shares[group] = float(np.var([part.mean() for part in binned]) / variance)
        return shares

    def _mean(self, points_NK: FloatArray) -> FloatArray:
        if self._is_flat:
            return np.full(len(points_NK), self._level)
        return np.asarray(self._regressor.predict(points_NK), dtype=np.float64)

    def _matrix(self, mixes: Sequence[Mapping[str, float]]) -> FloatArray:
        return np.array([[mix[group] for group in self.groups] for mix in mixes], dtype=np.float64)


def _fit_quietly(regressor: object, points_NK: FloatArray, scores_N: FloatArray) -> None:
    """Fit; a length scale at its bound is expected with few points and no reason for a warning."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        regressor.fit(points_NK, scores_N)  # type: ignore[attr-defined]
