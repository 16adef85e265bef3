"""Checkpoints of a preference tuning: weights, optimiser, where its record stood, and what a resume must find unchanged.

The plan of batches is a function of (pairs, settings, seed) and nothing in the loops is drawn, so a step number and the
last losses are all the state there is besides tensors: a resumed tuning equals an undisturbed one bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor

from components.errors import StorageError
from components.recorder import Recorder
from components.storage.checkpoints import Checkpoint, CheckpointFolder
from components.storage.random_states import random_states, restore_random_states
from components.training.divergence import Evidence, stop_as_diverged
from components.training.engines.engine import Engine
from components.training.floors import Stopwatch
from components.training.preference.prompt_pairs import PromptPairs


@dataclass
class TuningCheckpoints:
    """The checkpoints of one model's tuning, which may share its record with another's.

    `identity` is name → digest of what is tuned on and from; a checkpoint of another one is refused. `what` names the
    model in that error.
    """

    checkpoints: CheckpointFolder | None
    engine: Engine
    recorder: Recorder
    identity: Mapping[str, str]
    steps: int
    what: str
    losses: list[float] = field(default_factory=list)  # of the last steps
    watch: Stopwatch = field(default_factory=lambda: Stopwatch("checkpoint"))

    @property
    def written(self) -> CheckpointFolder | None:
        """Where this rank writes; None on the others."""
        return self.checkpoints if self.engine.ranks.is_main else None

    def seconds(self, name: str) -> dict[str, float]:
        """Return the seconds that checkpoints took since the last call, under the tuning's name."""
        return {f"{key}/{name}": value for key, value in self.watch.take().items()}

    def save(self, step: int, *, tensors: Mapping[str, Tensor] | None = None, state: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint after `step` optimiser steps, in the background, with further tensors and state of the loop's own.

        Raises:
            Diverged: a tensor holds values that are no numbers.
            StorageError: the checkpoint before this one cannot be written.
        """
        if self.checkpoints is None:
            return
        whole = {
            **self.identity, **(state or {}), "record": self.recorder.position(), "losses": self.losses, "rng": random_states(),
        }  # fmt: skip
        with self.watch.on("checkpoint"):
            self.engine.save(self.checkpoints, step, state=whole, extra=tensors)

    def stop(self, step: int, *, reason: str, batch: Sequence[PromptPairs], values: Mapping[str, float]) -> NoReturn:
        """Stop as diverged before a step is taken; the weights are those of the step before.

        Raises:
            Diverged: always.
        """
        self.engine.clear()
        ids = [identifier for group in batch for identifier in group.ids]
        mean = sum(self.losses) / max(1, len(self.losses))
        reason = f"{reason} (mean loss of the {len(self.losses)} steps before: {mean:.4g})"
        evidence = Evidence(step=step, reason=reason, batch=ids, losses_before=self.losses, values=values)
        stop_as_diverged(evidence, checkpoints=self.written, advice="lower optimiser.learning_rate, or look at the pairs")

    def restore(self) -> Checkpoint | None:
        """Put model, optimiser and record back as the newest sound checkpoint has them; None where none was written.

        Raises:
            StorageError: no checkpoint is sound, or it was made on something else.
        """
        checkpoint, warnings = self.engine.latest(self.checkpoints) if self.checkpoints is not None else (None, [])
        if checkpoint is None:
            return None
        for name, digest in self.identity.items():
            if checkpoint.state.get(name) != digest:
                raise StorageError(f"the checkpoint of {self.what} was made on other {name}; delete its folder to start anew")
        self.engine.restore_tensors(checkpoint.tensors)
        restore_random_states(checkpoint.state["rng"])
        self.losses = checkpoint.state["losses"]
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
