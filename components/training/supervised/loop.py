"""The supervised loop: planned batches → loss → AdamW, with validation, checkpoints and a stop when numbers go wrong.

A run interrupted at any point goes on from its newest checkpoint and ends with the same weights, bit for bit, and the
same record, as an undisturbed one.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor

from components.errors import StorageError
from components.modeling.adapters import has_adapters, trained_state
from components.recorder import Recorder
from components.settings.engine import EngineSettings
from components.settings.training import SupervisedSettings
from components.sizing.floors import Tree
from components.storage.checkpoints import Checkpoint, CheckpointFolder
from components.storage.random_states import random_states, restore_random_states
from components.training.divergence import (
    Evidence,
    is_sound_loss,
    refuse_unsound,
    stop_as_diverged,
    with_loss,
)
from components.training.engines.creation import create_engine
from components.training.engines.sharing import Pass
from components.training.floors import StepFloors, Stopwatch
from components.training.preemption import orderly_steps, stop_here_if_asked
from components.training.schedule import learning_rate
from components.training.selection import Measure
from components.training.supervised.examples import Example, examples_digest
from components.training.supervised.loss import mean_loss, micro_batches, summed_loss
from components.training.supervised.progress import Look, Progress, TuningResult

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SupervisedRun:
    """One run over a plan of batches; `model` is changed in place and ends with the weights to keep."""

    def __init__(
        self,
        model: "PreTrainedModel",
        examples: Sequence[Example],
        plan: Sequence[Sequence[int]],
        *,
        settings: SupervisedSettings,
        validation: Sequence[Example] = (),
        measure: Measure | None = None,
        recorder: Recorder | None = None,
        checkpoints: CheckpointFolder | None = None,
        engine: EngineSettings | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Args: validation: whose loss is looked at; measure: a score of the model, to be maximised in place of that loss;
        names: the examples' ids, for what is said of a batch that diverged; their places where there are none.
        """
        self.examples, self.plan, self.settings = examples, plan, settings
        self.validation, self.measure, self.checkpoints, self.names = validation, measure, checkpoints, names
        self.engine = create_engine(model, settings.optimiser, engine, precision=settings.precision)
        self.recorder = recorder if self.engine.ranks.is_main else None
        self.floors = StepFloors(model, precision=settings.precision, is_adapted=has_adapters(model), ranks=self.engine.ranks.size)
        self.watch = Stopwatch("checkpoint")
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.digest = examples_digest(examples, plan) if checkpoints else ""

    def run(self) -> TuningResult:
        """Train to the end of the plan, or until patience is spent; keep the best weights where patience is set.

        Raises:
            Diverged: a loss or a gradient is not a number, or a loss is far above the steps before.
            Preempted: a stop was asked for; the state is saved.
            StorageError: the checkpoint is damaged or of another run, or cannot be written.
        """
        with orderly_steps(self.checkpoints):
            self._resume()
            if self.validation and not self.progress.looks:
                self._look(step=0)
            while self.progress.step < len(self.plan) and not self._is_patience_spent():
                self._step()
                stop_here_if_asked(
                    self._save, checkpoints=self.checkpoints, done=self.progress.step, total=len(self.plan), ranks=self.engine.ranks
                )
        if self.best:
            self.engine.load_weights(self.best)
        self.engine.finish()
        refuse_unsound(trained_state(self.engine.whole), step=self.progress.step, checkpoints=self._written())
        return self._result()

    def _step(self) -> None:
        step, started = self.progress.step, perf_counter()
        batch = [self.examples[index] for index in self.plan[step]]
        targets = sum(example.targets for example in batch)
        loss = 0.0
        for part in self._passes(batch):
            part_loss = summed_loss(self.engine.model, part.items, precision=self.settings.precision, recompute=self.settings.recompute) / targets
            self.engine.backward(part_loss, part)
            loss += float(part_loss.detach()) * part.is_counted
        (loss,) = self.engine.ranks.total([loss])
        if not is_sound_loss(loss, self.progress.losses, spike_limit=self.settings.spike_limit):
            self._stop(step, loss=loss, norm=self.engine.gradient_norm())
        rate = learning_rate(step, steps=len(self.plan), settings=self.settings.optimiser)
        norm = self.engine.step(rate=rate, clip_norm=self.settings.optimiser.clip_norm)
        if not math.isfinite(norm):
            self._stop(step, loss=loss, norm=norm)
        self.progress.step += 1
        self.progress.tokens += sum(len(example.ids) for example in batch)
        self.progress.losses = with_loss(self.progress.losses, loss)
        self._record(batch, {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "tokens": self.progress.tokens, "seconds_update": perf_counter() - started})
        if self.validation and (
            self.progress.step % self.settings.validate_every == 0 or self.progress.step == len(self.plan)
        ):
            self._look(step=self.progress.step)
        if (
            self.checkpoints
            and self.progress.step % self.settings.checkpoint_every == 0
            and self.progress.step < len(self.plan)
        ):
            self._save()

    def _passes(self, batch: Sequence[Example]) -> list[Pass[Example]]:
        micro_tokens = self.settings.micro_tokens
        return self.engine.passes(
            batch, tokens=lambda example: len(example.ids), cut=lambda part: micro_batches(part, micro_tokens=micro_tokens)
        )

    def _stop(self, step: int, *, loss: float, norm: float) -> NoReturn:
        self.engine.clear()
        recent = self.progress.losses
        mean = sum(recent) / max(1, len(recent))
        evidence = Evidence(
            step=step, reason=f"loss {loss:.4g}, gradient norm {norm:.4g} (mean loss of the {len(recent)} steps before: {mean:.4g})",
            batch=[self.names[index] if self.names else str(index) for index in self.plan[step]], losses_before=recent,
            values={"loss": loss, "gradient_norm": norm, "spike_limit": self.settings.spike_limit},
        )  # fmt: skip
        stop_as_diverged(evidence, checkpoints=self._written(), advice="lower optimiser.learning_rate or look at the data")

    def _written(self) -> CheckpointFolder | None:
        """Return where this rank writes; None on the others."""
        return self.checkpoints if self.engine.ranks.is_main else None

    def _look(self, *, step: int) -> None:
        watch = Stopwatch()
        with watch.on("look"):
            loss = mean_loss(
                self.engine.model, self.validation, precision=self.settings.precision, micro_tokens=self.settings.micro_tokens
            )
            look = Look(step, loss, self._measured())
        self.progress.looks.append(look)
        if self.recorder:
            score = {} if look.score is None else {"validation_score": look.score}
            self.recorder.metrics({"validation_loss": loss, **score, **watch.take()}, step=step)
        if self.settings.patience and self.progress.best is look:
            self.best = self.engine.weights()

    def _measured(self) -> float | None:
        if self.measure is None:
            return None
        with self.engine.gathered() as model:
            return self.engine.ranks.from_main(self.measure(model))

    def _is_patience_spent(self) -> bool:
        return bool(self.settings.patience) and self.progress.looks_without_gain >= self.settings.patience

    def _record(self, batch: Sequence[Example], values: dict[str, float]) -> None:
        if self.recorder:
            floor = self.floors.update([Tree(len(example.ids) - 1) for example in batch], headed=sum(example.targets for example in batch))
            self.recorder.metrics({**values, "seconds_floor_update": floor, **self.watch.take()}, step=self.progress.step)
            self.recorder.progress(self.progress.step, len(self.plan), loss=values["loss"])

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        state: dict[str, Any] = {
            "progress": asdict(self.progress), "data": self.digest, "rng": random_states(),
            "record": self.recorder.position() if self.recorder else 0,
        }  # fmt: skip
        best = {f"best.{name}": value for name, value in self.best.items()}
        with self.watch.on("checkpoint"):
            self.engine.save(self.checkpoints, self.progress.step, state=state, extra=best)

    def _resume(self) -> None:
        checkpoint, warnings = self.engine.latest(self.checkpoints) if self.checkpoints else (None, [])
        if checkpoint is None:
            # Names where this run's record begins, so that one cut before its first checkpoint is not counted twice.
            if self.checkpoints:
                self._save()
            return
        self._restore(checkpoint)
        if self.recorder:
            self.recorder.rewind(checkpoint.state["record"], step=checkpoint.step)
            for warning in warnings:
                self.recorder.warning(warning)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.state["data"] != self.digest:
            raise StorageError(
                "the checkpoint was made on other samples or another order of them; delete its folder to start anew"
            )
        self.engine.restore_tensors(checkpoint.tensors)
        self.best = {
            name.removeprefix("best."): value for name, value in checkpoint.tensors.items() if name.startswith("best.")
        }
        saved = checkpoint.state["progress"]
        self.progress = Progress(**{**saved, "looks": [Look(**look) for look in saved["looks"]]})
        restore_random_states(checkpoint.state["rng"])

    def _result(self) -> TuningResult:
        done = self.progress
        looks = done.looks
        after = (done.best if self.settings.patience else looks[-1]) if looks else None
        return TuningResult(done.step, done.tokens, done.losses[-1], looks[0] if looks else None, after)
