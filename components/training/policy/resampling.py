"""Dynamic resampling: at the start of each epoch the prompts the model has mastered leave (report §3.3).

A prompt is mastered when its pass rate, the last time it was sampled, reached a limit. Each epoch a mastered prompt is
looked at again with a small probability and returns if it was forgotten. Where fewer prompts remain than a step takes,
the mastered ones with the lowest pass rates fill up, so that an epoch is never empty.
The state is plain JSON and everything random is a function of (seed, epoch), so a resumed run draws the same prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.lineage import stable_fraction


@dataclass
class PromptResampler:
    """Hands out prompt ids epoch by epoch; knows how often each was sampled and passed."""

    ids: Sequence[str]
    seed: int
    mastered_pass_rate: float
    readmission: float
    epoch: int = -1
    position: int = 0
    order: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    passed: dict[str, float] = field(default_factory=dict)
    last_rate: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, int]] = field(default_factory=list)

    def take(self, count: int) -> list[str]:
        """Return the next `count` different prompt ids, beginning a new epoch where the current one ends."""
        count = min(count, len(self.ids))
        taken: list[str] = []
        while len(taken) < count:
            if self.position >= len(self.order):
                self._begin_epoch(minimum=count, pending=taken)
            part = self.order[self.position : self.position + count - len(taken)]
            self.position += len(part)
            taken.extend(part)
        return taken

    def observe(self, identifier: str, *, passed: float, answers: int) -> None:
        """Count a prompt's answers; `passed` is the sum of their scores in 0..1."""
        self.seen[identifier] = self.seen.get(identifier, 0) + answers
        self.passed[identifier] = self.passed.get(identifier, 0.0) + passed
        self.last_rate[identifier] = passed / answers

    def is_mastered(self, identifier: str) -> bool:
        """Say whether the prompt's last pass rate reached the limit."""
        return self.last_rate.get(identifier, 0.0) >= self.mastered_pass_rate

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as JSON."""
        names = ("epoch", "position", "order", "seen", "passed", "last_rate", "history")
        return {name: _copy(getattr(self, name)) for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state made by `state`."""
        for name, value in state.items():
            setattr(self, name, _copy(value))

    def _begin_epoch(self, *, minimum: int, pending: Sequence[str]) -> None:
        """Draw the next epoch's order; prompts already in the current batch come last in it."""
        self.epoch += 1
        self.position = 0
        mastered = [identifier for identifier in self.ids if self.is_mastered(identifier)]
        readmitted = [identifier for identifier in mastered if self._fraction("readmit", identifier) < self.readmission]
        left_out = sorted(set(mastered) - set(readmitted), key=lambda identifier: (self.last_rate[identifier], identifier))
        missing = max(0, minimum - (len(self.ids) - len(left_out)))
        excluded = set(left_out[missing:])
        active = [identifier for identifier in self.ids if identifier not in excluded]
        held_back = set(pending)
        self.order = sorted(active, key=lambda identifier: (identifier in held_back, self._fraction("order", identifier)))
        self.history.append(
            {
                "epoch": self.epoch, "prompts": len(self.ids), "active": len(active),
                "mastered": len(mastered), "readmitted": len(readmitted) + missing,
            }
        )  # fmt: skip

    def _fraction(self, purpose: str, identifier: str) -> float:
        return stable_fraction(str(self.seed), purpose, str(self.epoch), identifier)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
