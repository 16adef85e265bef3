"""One check: a number and the limit it must not exceed."""

from dataclasses import dataclass

from bench.gpu_check.plan import LIMITS


@dataclass(frozen=True)
class Check:
    """`value` is fine up to `limit`; a value that is no number is not."""

    name: str
    value: float
    limit: float

    @property
    def is_ok(self) -> bool:
        """Say whether the check is passed."""
        return self.value <= self.limit


def limited(name: str, value: float, *, by: str) -> Check:
    """Return a check under one of the plan's limits."""
    return Check(name, float(value), LIMITS[by])


def exact(name: str, is_so: bool) -> Check:
    """Return a check of something that must hold to the bit."""
    return Check(name, 0.0 if is_so else 1.0, 0.0)
