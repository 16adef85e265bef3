"""The GRPO loop: sample groups, judge them, take one optimiser step, again (report §3.3–3.4, arXiv:2402.03300).

    take prompts (mastered ones left at the epoch's start) → hand the sampler the weights → sample → rewards
    → advantages within the group → drop groups without spread, refill → one optimiser step, or several → record
    → checkpoint

A step of the loop is a rollout and what is learnt from it. Departures from the report: one update a rollout, so the old
policy is the current one and costs no pass (`updates_per_rollout` asks for more); 8 or so rollouts a prompt at laptop
scale instead of 32. Everything random is a function of (seed, step): no generator's state
has to survive a kill.
"""

from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from transformers import PreTrainedModel

from components.errors import Diverged
from components.generation.sampler import Sampler
from components.modeling.adapters import trained_state
from components.recorder import TIMING, Recorder
from components.settings.training import PolicySettings
from components.storage.checkpoints import CheckpointFolder
from components.training.divergence import Evidence, refuse_unsound, stop_as_diverged, with_loss
from components.training.engines.engine import Engine
from components.training.floors import StepFloors, Stopwatch
from components.training.policy.collection import Collection, collect_groups, completion_rows
from components.training.policy.floors import rollout_floors
from components.training.policy.groups import PolicyPrompt, RewardFunction
from components.training.policy.refusals import refuse_drift_at_start, refuse_unsound_answers
from components.training.policy.resampling import PromptResampler
from components.training.policy.rollout_updates import update_on_rollout, whole_rollout
from components.training.policy.state import restore_state, save_state
from components.training.policy.update import UpdateStatistics
from components.training.preemption import orderly_steps, stop_here_if_asked
from components.training.schedule import learning_rate
from components.training.selection import Selection

TABLE_GROUPS = 4


@dataclass
class PolicyRun:
    """The parts of one run, so that a step can be read as one story."""

    engine: Engine
    reference: PreTrainedModel | None
    prompts: dict[str, PolicyPrompt]
    resampler: PromptResampler
    reward: RewardFunction
    sampler: Sampler
    settings: PolicySettings
    seed: int
    mastery: str
    recorder: Recorder
    checkpoints: CheckpointFolder | None
    identity: dict[str, str]  # of what a resume must find unchanged
    floors: StepFloors
    selection: Selection | None = None
    totals: dict[str, Any] = field(default_factory=lambda: {"rewards": [], "losses": [], "seconds": {}, "tokens": 0})
    watch: Stopwatch = field(default_factory=lambda: Stopwatch("checkpoint"))

    def train(self) -> int:
        """Take the steps that are left, until patience is spent, saving as it goes; return the steps taken in all."""
        total = self.settings.steps
        with orderly_steps(self.checkpoints):
            done = self._resume()
            self.look(done)
            while done < total and not (self.selection and self.selection.is_spent):
                self.step(done)
                done += 1
                self.look(done)
                if done % self.settings.checkpoint_every == 0:
                    self._save(done)
                stop_here_if_asked(partial(self._save, done), checkpoints=self.checkpoints, done=done, total=total, ranks=self.engine.ranks)
        self.engine.finish()
        if self.selection:
            self.selection.apply(self.engine.whole)
        refuse_unsound(trained_state(self.engine.whole), step=done, checkpoints=self._written())
        return done

    def step(self, number: int) -> None:
        """Collect, update and record one step; the sampler draws from the weights after `number` steps.

        Raises:
            ServiceError: the sampler's engine is dead, too late, or does not have the weights it was handed.
            Diverged: see `update_policy`; or the policy does not start at its reference.
        """
        epochs = len(self.resampler.history)
        with self.engine.gathered() as whole:
            started = perf_counter()
            self.sampler.sync(whole, version=number)
            seconds_sync = perf_counter() - started
            collected = collect_groups(
                self.sampler, self.prompts, self.resampler, self.reward,
                settings=self.settings, seed=self.seed, step=number, mastery=self.mastery, ranks=self.engine.ranks,
            )  # fmt: skip
            self.sampler.rest()
        for epoch in self.resampler.history[epochs:]:
            self._record_epoch(epoch, number)
        rate = learning_rate(number, steps=self.settings.steps, settings=self.settings.optimiser)
        try:
            refuse_unsound_answers(collected)
            updates = update_on_rollout(self.engine, self.reference, collected.live, settings=self.settings, learning_rate=rate)
            if number == 0 and updates:
                refuse_drift_at_start(updates[0])
        except Diverged as error:
            self.recorder.note(f"stopped as diverged at step {number}: {error}")
            evidence = Evidence(
                step=number, reason=str(error), batch=[group.prompt.id for group in collected.groups],
                losses_before=self.totals["losses"], values=error.values,
            )  # fmt: skip
            stop_as_diverged(evidence, checkpoints=self._written())
        floors = rollout_floors(self.floors, collected, settings=self.settings, has_reference=self.reference is not None)
        self._record(number, collected, whole_rollout(updates), {"learning_rate": rate, "seconds_sync": seconds_sync} | floors | self.watch.take())

    def look(self, step: int) -> None:
        """Measure the model on validation where that is due after `step` optimiser steps."""
        if self.selection and self.selection.is_due(step, steps=self.settings.steps):
            watch = Stopwatch()
            with watch.on("look"), self.engine.gathered() as whole:
                score = self.selection.look(whole, step=step, agree=self.engine.ranks.from_main)
            self.recorder.metrics({"validation_score": score} | self._spent(watch.take()), step=step)

    def _record(self, number: int, collected: Collection, statistics: UpdateStatistics, others: dict[str, float]) -> None:
        values = collected.metrics(self.settings.reward_weights) | statistics.metrics() | others
        self.totals["rewards"].append(values["reward"])
        self.totals["losses"] = with_loss(self.totals["losses"], values["loss"])
        self.totals["tokens"] += values["sampled_tokens"]
        self.recorder.metrics(self._spent(values), step=number)
        if number % self.settings.table_every == 0:
            self.recorder.table(f"completions-{number:05d}", completion_rows(collected, groups=TABLE_GROUPS))
        self.recorder.progress(number + 1, self.settings.steps, reward=values["reward"], kl=values["kl"])

    def _spent(self, values: dict[str, float]) -> dict[str, float]:
        """Add the seconds among some metrics to the run's; return the metrics."""
        totals = self.totals["seconds"]
        for name in (name for name in values if name.startswith(TIMING)):
            totals[name.removeprefix(TIMING)] = totals.get(name.removeprefix(TIMING), 0.0) + values[name]
        return values

    def _resume(self) -> int:
        """Go on from the newest checkpoint; where there is none, write that of the beginning. Return the steps that are done."""
        if self.checkpoints is None:
            return 0
        done, totals = restore_state(
            self.checkpoints, engine=self.engine, resampler=self.resampler, selection=self.selection, identity=self.identity,
            recorder=self.recorder,
        )  # fmt: skip
        if totals:
            self.totals = totals
        else:  # the record's position before the first step: what a run killed early goes back to
            self._save(0)
        return done

    def _save(self, step: int) -> None:
        if self.checkpoints is not None:
            with self.watch.on("checkpoint"):
                save_state(
                    self.checkpoints, step=step, engine=self.engine, resampler=self.resampler, selection=self.selection,
                    identity=self.identity, totals=self.totals, recorder=self.recorder,
                )  # fmt: skip

    def _written(self) -> CheckpointFolder | None:
        """Return where this rank writes; None on the others."""
        return self.checkpoints if self.engine.ranks.is_main else None

    def _record_epoch(self, epoch: dict[str, int], number: int) -> None:
        self.recorder.metrics({f"epoch_{name}": value for name, value in epoch.items()}, step=number)
        self.recorder.note(
            f"epoch {epoch['epoch']}: {epoch['active']} of {epoch['prompts']} prompts; {epoch['mastered']} mastered, "
            f"{epoch['readmitted']} of them looked at again"
        )


def run_summary(run: PolicyRun) -> dict[str, float]:
    """Return the run's final numbers: reward over the first and last tenth of the steps, epochs, and where time went."""
    rewards = run.totals["rewards"]
    tenth = max(1, len(rewards) // 10)
    return {
        **({"kept_step": float(run.selection.best[0]), "kept_score": run.selection.best[1]} if run.selection else {}),
        "reward_first": sum(rewards[:tenth]) / tenth,
        "reward_last": sum(rewards[-tenth:]) / tenth,
        "epochs": float(len(run.resampler.history)),
        "mastered_prompts": float(sum(run.resampler.is_mastered(identifier) for identifier in run.prompts)),
        "sampled_tokens": float(run.totals["tokens"]),
        **{f"seconds_{name}": value for name, value in run.totals["seconds"].items()},
    }
