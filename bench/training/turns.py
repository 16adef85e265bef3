"""Turns of two sides, and what they come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Turn = Callable[[str], dict[str, float]]


@dataclass(frozen=True)
class Comparison:
    """One work on one model, number type and kind: rates in units a second, by turn."""

    work: str
    kind: str
    size: str
    precision: str
    unit: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    facts: dict[str, float]

    @property
    def ratio(self) -> float:
        """The median over pairs of turns of ours over the peer's."""
        return median(mine / theirs for mine, theirs in zip(self.ours, self.peer, strict=True))

    @property
    def answer_lengths(self) -> tuple[float, float] | None:
        """Tokens an answer on our side and on the peer's, in the last turn; None where answers are not sampled or not counted."""
        names = ("ours_tokens", "ours_samples", "peer_tokens", "peer_samples")
        if not all(name in self.facts for name in names):
            return None
        mine, my_answers, theirs, their_answers = (self.facts[name] for name in names)
        return mine / my_answers, theirs / their_answers


def take_turns(ours: Turn, peer: Turn, kind: str, *, pairs: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Measure ours, the peer, ours, the peer, …; return both sides' answers."""
    mine, theirs = [], []
    for _ in range(pairs):
        mine.append(ours(kind))
        theirs.append(peer(kind))
    return mine, theirs


def rates(turns: Sequence[dict[str, float]], unit: str) -> tuple[float, ...]:
    """Return units a second of each turn; `unit` names what the turns counted."""
    return tuple(turn[unit] / turn["seconds"] for turn in turns)


def worst_ratio(comparisons: Sequence[Comparison]) -> float | None:
    """Return the lowest ratio, rounded; None where nothing was compared."""
    return round(min(comparison.ratio for comparison in comparisons), 3) if comparisons else None
