"""Points of the simplex from the unit cube, and back.

Stick-breaking with Beta quantiles: of what is left of the stick, group i takes the share 1 − (1 − u_i)^(1/(k−1−i)).
With u uniform the ratios are uniform on the simplex (Dirichlet(1,…,1); Devroye 1986, ch. XI.4), so random start-up
trials favour no group. k groups need k − 1 numbers: unlike k normalised exponentials there is no direction along which
nothing changes, which would only blur a Gaussian process fitted to ten points.

A floor f keeps every group at least at f: ratio = f + (1 − k·f) · share.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from components.errors import SettingsError

FloatArray = NDArray[np.float64]


def ratios_from_cube(numbers: Sequence[float], groups: Sequence[str], *, floor: float) -> dict[str, float]:
    """Map k − 1 numbers in [0, 1] to a ratio for each of k groups: each at least `floor`, together 1.

    Raises:
        SettingsError: the floors of all groups leave nothing to share out.
    """
    groups_count = len(groups)
    if groups_count * floor >= 1:
        raise SettingsError(f"mixture.floor: {floor} for each of {groups_count} groups leaves nothing to search; use less than {1 / groups_count:.3f}")
    shares, left = [], 1.0
    for position, number in enumerate(numbers):
        taken = left * (1.0 - (1.0 - number) ** (1.0 / (groups_count - 1 - position)))
        shares.append(taken)
        left -= taken
    shares.append(left)
    return {group: floor + (1.0 - groups_count * floor) * share for group, share in zip(groups, shares, strict=True)}


def cube_from_ratios(ratios: Mapping[str, float], groups: Sequence[str], *, floor: float) -> list[float]:
    """Invert `ratios_from_cube`."""
    shares = [(ratios[group] - floor) / (1.0 - len(groups) * floor) for group in groups]
    numbers, left = [], 1.0
    for position, share in enumerate(shares[:-1]):
        taken = min(1.0, share / left) if left > 0 else 0.0
        numbers.append(1.0 - (1.0 - taken) ** (len(groups) - 1 - position))
        left -= share
    return numbers


def uniform_ratios(groups: Sequence[str]) -> dict[str, float]:
    """Return equal ratios."""
    return {group: 1.0 / len(groups) for group in groups}


def random_ratios(groups: Sequence[str], *, floor: float, count: int, generator: np.random.Generator) -> FloatArray:
    """Return `count` uniform points of the floored simplex, (count, groups)."""
    shares_NK: FloatArray = generator.dirichlet(np.ones(len(groups)), size=count)
    return floor + (1.0 - len(groups) * floor) * shares_NK
