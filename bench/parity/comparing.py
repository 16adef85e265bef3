"""How far two results of one case are apart."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from components.errors import DataError

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Difference:
    """Largest absolute difference of one kind of value, and the largest value of the peer's: its scale."""

    case: str
    what: str
    absolute: float
    scale: float

    @property
    def relative(self) -> float:
        """The difference over the scale."""
        return self.absolute / max(self.scale, 1e-30)

    @property
    def is_within(self) -> bool:
        """Say whether the difference is at most 1e-5, absolutely, and over the scale where the scale is above 1."""
        return self.absolute <= TOLERANCE * max(1.0, self.scale)


def differences(case: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[Difference]:
    """Return one difference for `loss`, one over all gradients, and one for every other value.

    Raises:
        DataError: one side has a value the other lacks.
    """
    if set(ours) != set(theirs):
        raise DataError(f"parity {case}: only one side has {', '.join(sorted(set(ours) ^ set(theirs)))}; the models are not the same")
    by_kind: dict[str, list[str]] = {}
    for name in sorted(ours):
        by_kind.setdefault("gradients" if name.startswith("grad.") else name, []).append(name)
    return [
        Difference(
            case, what, max(float((ours[name] - theirs[name]).abs().max()) for name in names), max(float(theirs[name].abs().max()) for name in names)
        )
        for what, names in by_kind.items()
    ]
