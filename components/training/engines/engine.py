"""What every engine is: it owns the optimiser and the parameters' layout, and the loops own everything else.

A loop plans a step alike on all ranks, asks for this rank's passes, hands every loss to `backward`, and steps. Losses
come normalised by the whole step's totals, so gradients are summed over ranks. What is saved has the same names and
shapes whatever the engine, so a run may go on under another engine or another number of ranks.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from components.storage.checkpoints import Checkpoint, CheckpointFolder
from components.training.divergence import gradient_norm, refuse_unsound
from components.training.engines.ranks import SINGLE, Ranks
from components.training.engines.sharing import Cut, Pass, planned_passes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Item = TypeVar("Item")


class Engine(ABC):
    """One model in training. `model` is what losses are computed with; `whole` the transformers model it was made of."""

    model: Any
    whole: "PreTrainedModel"
    ranks: Ranks = SINGLE
    is_sharded: bool = False  # parameters lie in parts on the ranks, so that every pass is a collective

    @abstractmethod
    def clear(self) -> None:
        """Drop gradients, so that a step that is not taken leaves nothing."""

    @abstractmethod
    def step(self, *, rate: float, clip_norm: float) -> float:
        """Sum gradients over ranks, clip their global norm, step at a learning rate, clear; return the norm before clipping.

        Where the norm is not finite, the weights stay as they are.
        """

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return a copy of what training changes (see `trained_state`), whole, by the transformers model's names; on every rank."""

    @abstractmethod
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put in place what `weights` returned.

        Raises:
            StorageError: they are of another model.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return whole weights (`model.*`) and moments (`optimiser.*`) for a checkpoint; on every rank."""

    @abstractmethod
    def restore_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned.

        Raises:
            StorageError: they are of another model.
        """

    @abstractmethod
    def finish(self) -> None:
        """Let go of the model: `whole` holds plain whole weights again and may be saved, or trained by another engine."""

    def gradient_norm(self) -> float:
        """Return the norm of the gradients held now, for the evidence of a step that is not taken; NaN where it cannot be told."""
        return gradient_norm(self.whole)

    def backward(self, loss: Tensor, part: Pass[Any]) -> None:
        """Add a pass's gradient to the step's; an idle pass adds nothing."""
        (loss if part.is_counted else loss * 0.0).backward()

    @contextlib.contextmanager
    def gathered(self) -> "Iterator[PreTrainedModel]":
        """Yield `whole` with whole weights, to sample from or to measure."""
        yield self.whole

    def passes(self, items: Sequence[Item], *, tokens: Callable[[Item], int], cut: Cut[Item]) -> list[Pass[Item]]:
        """Return this rank's passes over a step's items; `cut` makes passes of a rank's share."""
        plan = planned_passes(items, tokens=tokens, cut=cut, ranks=self.ranks.size, is_even=self.is_sharded)
        return plan[self.ranks.rank]

    def save(
        self, checkpoints: CheckpointFolder, step: int, *, state: dict[str, Any], extra: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write a checkpoint of the training's tensors, others beside them, and a state, in the background; rank 0 writes.

        Raises:
            Diverged: a tensor holds values that are no numbers.
            StorageError: the checkpoint before this one cannot be written.
        """
        tensors = self.tensors() | dict(extra or {})
        refuse_unsound(tensors, step=step, checkpoints=checkpoints if self.ranks.is_main else None)
        if self.ranks.is_main:
            checkpoints.save_later(step, tensors=tensors, state=state)
        self.ranks.wait()

    def latest(self, checkpoints: CheckpointFolder) -> tuple[Checkpoint | None, list[str]]:
        """Return `checkpoints.latest()`, the same on all ranks: none writes before all have read."""
        self.ranks.wait()
        found = checkpoints.latest()
        self.ranks.wait()
        return found
