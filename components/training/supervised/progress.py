"""How far a supervised run is, what its looks at held-out data said, and what it came to."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Look:
    """A look at held-out data: the loss in nats a target token and, where a measure was given, what it says of the model."""

    step: int
    loss: float
    score: float | None = None

    @property
    def cost(self) -> float:
        """What the run minimises: the score's negative where there is one, else the loss."""
        return self.loss if self.score is None else -self.score


@dataclass(frozen=True)
class TuningResult:
    """How a run went; the loss in nats a target token. `after` is the best look where patience is set, else the last."""

    steps: int
    tokens: int
    loss: float
    before: Look | None
    after: Look | None
    skipped: int = 0


@dataclass
class Progress:
    """What a checkpoint's state holds besides tensors."""

    step: int = 0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def best(self) -> Look:
        """The earliest look of the lowest cost."""
        return min(self.looks, key=lambda look: look.cost)

    @property
    def looks_without_gain(self) -> int:
        """Looks since the best one."""
        return len(self.looks) - 1 - self.looks.index(self.best) if self.looks else 0
