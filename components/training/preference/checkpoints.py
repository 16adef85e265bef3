"""Checkpoints of a preference tuning: weights, optimiser, where its record stood, and what a resume must find unchanged.

The plan of batches is a function of (pairs, settings, seed) and nothing in the loops is drawn, so a step number is all
the state there is besides tensors: a resumed tuning equals an undisturbed one bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from components.errors import StorageError
from components.recorder import Recorder
from components.storage.checkpoints import Checkpoint, CheckpointFolder
from components.training.optimisation import MatrixOptimiser, restore_training, training_tensors


@dataclass(frozen=True)
class TuningCheckpoints:
    """The checkpoints of one model's tuning, which may share its record with another's.

    `identity` is name → digest of what is tuned on and from; a checkpoint of another one is refused. `what` names the
    model in that error.
    """

    checkpoints: CheckpointFolder | None
    model: PreTrainedModel
    optimiser: MatrixOptimiser
    recorder: Recorder
    identity: Mapping[str, str]
    steps: int
    what: str

    def save(self, step: int, *, tensors: Mapping[str, Tensor] | None = None, state: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint after `step` optimiser steps, with further tensors and state of the loop's own."""
        if self.checkpoints is not None:
            whole = {**self.identity, **(state or {}), "record": self.recorder.position()}
            self.checkpoints.save(step, tensors=training_tensors(self.model, self.optimiser) | dict(tensors or {}), state=whole)

    def restore(self) -> Checkpoint | None:
        """Put model, optimiser and record back as the newest sound checkpoint has them; None where none was written.

        Raises:
            StorageError: no checkpoint is sound, or it was made on something else.
        """
        checkpoint, warnings = self.checkpoints.latest() if self.checkpoints is not None else (None, [])
        if checkpoint is None:
            return None
        for name, digest in self.identity.items():
            if checkpoint.state.get(name) != digest:
                raise StorageError(f"the checkpoint of {self.what} was made on other {name}; delete its folder to start anew")
        restore_training(self.model, self.optimiser, checkpoint.tensors)
        # What stands in the record after a finished tuning is another model's.
        end = self.recorder.position() if checkpoint.step == self.steps else checkpoint.state["record"]
        self.recorder.rewind(end, step=checkpoint.step)
        for warning in warnings:
            self.recorder.warning(warning)
        return checkpoint

    def resume(self) -> int:
        """Restore the newest checkpoint and return its step; where there is none, write that of the beginning."""
        checkpoint = self.restore()
        if checkpoint is None:
            self.save(0)
            return 0
        return checkpoint.step
