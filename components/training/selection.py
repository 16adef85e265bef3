"""Keeping the weights that did best on validation, and saying when to stop looking for better ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Measure = Callable[["PreTrainedModel"], float]  # to be maximised
PREFIX = "best."  # of the kept weights among a checkpoint's tensors


@dataclass
class Selection:
    """The looks of a run so far and the weights of the best; looks every `every` steps, before the first and after the last.

    A tie goes to the earlier look. `patience`: looks without a better one after which the run is spent; 0: never.
    """

    measure: Measure
    every: int
    patience: int = 0
    looks: list[tuple[int, float]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best(self) -> tuple[int, float]:
        """Step and score of the best look; (0, 0) before any."""
        return max(self.looks, key=lambda look: look[1], default=(0, 0.0))

    @property
    def is_spent(self) -> bool:
        """Say whether patience is over."""
        return bool(self.patience) and bool(self.looks) and len(self.looks) - 1 - self.looks.index(self.best) >= self.patience

    def is_due(self, step: int, *, steps: int) -> bool:
        """Say whether the model is to be looked at after `step` of `steps` optimiser steps."""
        return (step % self.every == 0 or step == steps) and not any(seen == step for seen, _ in self.looks)

    def look(self, model: "PreTrainedModel", *, step: int, agree: Callable[[float], float] = float) -> float:
        """Measure the model; keep its weights if none before was better. Return the score.

        Args:
            agree: returns the score that all processes of the run go by.
        """
        score = agree(self.measure(model))
        self.looks.append((step, score))
        if self.best == (step, score):
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        return score

    def apply(self, model: "PreTrainedModel") -> None:
        """Give the model the kept weights."""
        if self.weights:
            model.load_state_dict(self.weights)

    def tensors(self) -> dict[str, Tensor]:
        """Return the kept weights for a checkpoint."""
        return {f"{PREFIX}{name}": value for name, value in self.weights.items()}

    def restore(self, looks: list[tuple[int, float]], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint's looks and tensors."""
        self.looks = [(int(step), float(score)) for step, score in looks]
        self.weights = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
