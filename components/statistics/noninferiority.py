"""Non-inferiority of a candidate: no worse than the champion by more than a margin.

Shown when the one-sided lower bound of the paired difference lies above −margin (Piaggio et al., CONSORT extension,
JAMA 2012;308:2594). A margin is only worth deciding by when it is at least 4 standard errors of the difference: then
a truly equal candidate passes with probability Φ(4 − 1.645) = 0.99 at 95 % confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.errors import SettingsError
from components.statistics.bootstrap import FloatArray
from components.statistics.paired import PairedDifference, paired_difference

STANDARD_ERRORS_A_MARGIN = 4.0


@dataclass(frozen=True)
class NonInferiority:
    """The verdict of one suite, with everything it rests on."""

    difference: PairedDifference
    margin: float

    @property
    def is_noninferior(self) -> bool:
        """Whether the one-sided lower bound lies above −margin."""
        return self.difference.lower_bound > -self.margin

    @property
    def is_superior(self) -> bool:
        """Whether the one-sided lower bound lies above 0."""
        return self.difference.lower_bound > 0

    @property
    def margin_in_standard_errors(self) -> float:
        """The margin divided by the standard error of the difference; infinite where no item differs."""
        error = self.difference.standard_error
        return float("inf") if error == 0 else self.margin / error

    @property
    def is_powered(self) -> bool:
        """Whether the suite is large enough for its margin."""
        return self.margin_in_standard_errors >= STANDARD_ERRORS_A_MARGIN


def assess_noninferiority(
    candidate_N: Sequence[float] | FloatArray,
    champion_N: Sequence[float] | FloatArray,
    clusters: Sequence[str],
    *,
    margin: float,
    confidence: float = 0.95,
    draws: int = 2000,
    generator: np.random.Generator,
) -> NonInferiority:
    """Compare candidate and champion on the same N items.

    Args:
        candidate_N, champion_N: scores in the same order, in the unit of `margin`.
        margin: how much worse is still acceptable, above 0.
        confidence: of the one-sided lower bound.
    Raises:
        SettingsError: the margin is not above 0.
        DataError: the lengths differ, or there is no item.
    """
    if margin <= 0:
        raise SettingsError(f"gate.margins: {margin} is not above 0; non-inferiority needs a margin, superiority does not")
    difference = paired_difference(candidate_N, champion_N, clusters, confidence=confidence, draws=draws, generator=generator)
    return NonInferiority(difference, margin)
