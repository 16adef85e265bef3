"""Tuning a policy straight on preference pairs: DPO, IPO or conservative DPO (`losses/`), with an optional supervised term.

arXiv:2305.18290; the supervised term (RPO): arXiv:2404.19733 §2. The formula stands in `direct_update.py`. The reference is
the policy as it is handed in: its log-probabilities are taken once, before the first step, and lie in the checkpoints, so
no second model is held and a resume cannot move it. Each distinct answer of a prompt passes through the model once, and
the prompt once for all of them. Departure: pairs of one prompt stay in one batch, as for reward models.

Interrupted at any point, a tuning goes on from its newest checkpoint and ends with the same weights, bit for bit, and the
same record.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import PreferencePair
from components.errors import DataError, Diverged
from components.modeling.adapters import attach_adapters, has_adapters, trained_state
from components.recorder import Recorder, SilentRecorder
from components.settings.engine import EngineSettings
from components.settings.training import DirectPreferenceSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.divergence import refuse_unsound, with_loss
from components.training.engines.creation import create_engine
from components.training.floors import StepFloors, Stopwatch
from components.training.policy.state import weights_digest
from components.training.preemption import orderly_steps, stop_here_if_asked
from components.training.preference.answer_logprobs import encode_whole_answers, reference_logprobs
from components.training.preference.checkpoints import TuningCheckpoints
from components.training.preference.direct_update import (
    PairStatistics,
    ReferencedPairs,
    accumulate_gradients,
    direct_passes,
    measure_pairs,
    refuse_divergence,
)
from components.training.preference.prompt_pairs import (
    PromptPairs,
    fitting_pairs,
    group_pairs,
    groups_digest,
    plan_batches,
)
from components.training.schedule import learning_rate


@dataclass(frozen=True)
class DirectLook:
    """A look at held-out pairs after `step` steps.

    `accuracy` is the share whose preferred answer gained more on the reference (½ at a tie, so ½ before the first step),
    `likelihood_accuracy` the share whose preferred answer is the more probable, `margin` the mean difference of rewards.
    """

    step: int
    loss: float
    accuracy: float
    likelihood_accuracy: float
    margin: float


@dataclass(frozen=True)
class DirectResult:
    """How a run went. `skipped`: pairs longer than the model's context, or of two equal answers, which prefer nothing."""

    steps: int
    pairs: int
    skipped: int
    before: DirectLook | None
    after: DirectLook | None


def tune_on_preferences(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[PreferencePair],
    *,
    settings: DirectPreferenceSettings,
    seed: int,
    recorder: Recorder,
    name: str = "preference",
    checkpoints: CheckpointFolder | None = None,
    validation: Sequence[PreferencePair] = (),
    engine: EngineSettings | None = None,
) -> DirectResult:
    """Tune a policy in place, going on from the newest checkpoint; hand in the model that is to be the reference.

    Args:
        name: put before the metrics.
        validation: pairs looked at before the first and after the last step, and every `settings.validate_every`.
        engine: what trains; None: torch in this process. With several ranks a step's prompts, and the reference's, are shared.
    Raises:
        DataError: no pair is left to tune on.
        Diverged: see `refuse_divergence`; the evidence lies beside the checkpoints.
        Preempted: a stop was asked for; the state is saved.
        StorageError: the checkpoint is damaged, was made on other pairs or from another reference, or cannot be written.
    """
    context, encode = model.config.max_position_embeddings, partial(encode_whole_answers, tokenizer)
    groups, held_out = (fitting_pairs(group_pairs(_differing(some), encode), context=context) for some in (pairs, validation))
    if not groups:
        raise DataError(f"{name}: none of {len(pairs)} preference pairs has two different answers that fit the model's context of {context} tokens")
    run = DirectRun(model, groups, held_out, settings=settings, seed=seed, recorder=recorder, name=name, checkpoints=checkpoints, engine=engine)
    run.run()
    used = sum(len(group.chosen) for group in groups)
    before, after = (run.looks[0], run.looks[-1]) if run.looks else (None, None)
    return DirectResult(settings.steps, used, len(pairs) - used, before, after)


class DirectRun:
    """One run over a plan of batches of prompts; `model` is changed in place."""

    def __init__(
        self,
        model: PreTrainedModel,
        groups: Sequence[PromptPairs],
        held_out: Sequence[PromptPairs],
        *,
        settings: DirectPreferenceSettings,
        seed: int,
        recorder: Recorder,
        name: str,
        checkpoints: CheckpointFolder | None,
        engine: EngineSettings | None,
    ) -> None:
        self.groups, self.held_out, self.settings, self.name = groups, held_out, settings, name
        self.plan = plan_batches(groups, steps=settings.steps, batch_pairs=settings.batch_pairs, seed=seed)
        identity = {"pairs": groups_digest([*groups, *held_out]), "reference": weights_digest(model)} if checkpoints else {}
        attach_adapters(model, settings.adapters, seed=seed)
        self.engine = create_engine(model, settings.optimiser, engine, precision=settings.precision, norm_order="model")
        ranks = self.engine.ranks
        self.recorder = recorder if ranks.is_main else SilentRecorder()
        self.floors = StepFloors(model, precision=settings.precision, is_adapted=has_adapters(model), ranks=ranks.size)
        self.saved = TuningCheckpoints(checkpoints, self.engine, self.recorder, identity, steps=settings.steps, what=name)
        self.looks: list[DirectLook] = []
        self.scored = self.scored_held_out = ReferencedPairs((), ())

    def run(self) -> None:
        """Train to the end of the plan."""
        total = self.settings.steps
        with orderly_steps(self.saved.checkpoints):
            start = self._resume()
            if self.held_out and not self.looks:
                self._look(0)
            for step in range(start, total):
                self._step(step)
                done = step + 1
                is_last = done == total
                if self.held_out and (is_last or (self.settings.validate_every and done % self.settings.validate_every == 0)):
                    self._look(done)
                if is_last or done % self.settings.checkpoint_every == 0:
                    self._save(done)
                stop_here_if_asked(partial(self._save, done), checkpoints=self.saved.checkpoints, done=done, total=total, ranks=self.engine.ranks)
        self.engine.finish()
        refuse_unsound(trained_state(self.engine.whole), step=total, checkpoints=self.saved.written)

    def _step(self, step: int) -> None:
        settings, shape, started = self.settings, self.settings.optimiser, perf_counter()
        rate = learning_rate(step, steps=settings.steps, settings=shape)
        statistics = accumulate_gradients(self.engine, self.scored, self.plan[step], settings=settings)
        self._refuse_divergence(step, statistics, is_stepped=False)
        statistics.gradient_norm = self.engine.step(rate=rate, clip_norm=shape.clip_norm)
        self._refuse_divergence(step, statistics, is_stepped=True)
        metrics = statistics.metrics(beta=settings.beta)
        self.saved.losses = with_loss(self.saved.losses, metrics["loss"])
        metrics |= {"learning_rate": rate, "pairs": float(statistics.pairs), "packed_tokens": float(statistics.packed_tokens)}
        seconds = {"update": perf_counter() - started, "floor_update": self._floor(step)}
        timings = {f"seconds_{part}/{self.name}": spent for part, spent in seconds.items()} | self.saved.seconds(self.name)
        self.recorder.metrics({f"{self.name}/{key}": value for key, value in metrics.items()} | timings, step=step)
        self.recorder.progress(step + 1, settings.steps, loss=metrics["loss"])

    def _refuse_divergence(self, step: int, statistics: PairStatistics, *, is_stepped: bool) -> None:
        """Stop the run, before the optimiser's step or where that left the weights as they were."""
        try:
            refuse_divergence(statistics.metrics(beta=self.settings.beta), name=self.name, fall_limit=self.settings.fall_limit)
        except Diverged as error:
            if not is_stepped:
                statistics.gradient_norm = self.engine.gradient_norm()
            values = statistics.metrics(beta=self.settings.beta)
            self.saved.stop(step, reason=str(error), batch=[self.groups[index] for index in self.plan[step]], values=values)

    def _floor(self, step: int) -> float:
        trees = [self.groups[index].tree for index in self.plan[step]]
        return self.floors.update(trees, headed=sum(sum(tree.answers) for tree in trees))

    def _look(self, step: int) -> None:
        watch = Stopwatch()
        with watch.on(f"look/{self.name}"):
            values = measure_pairs(self.engine, self.scored_held_out, settings=self.settings).metrics(beta=self.settings.beta)
        shown = {key: values[key] for key in ("loss", "accuracy", "likelihood_accuracy", "margin")}
        self.looks.append(DirectLook(step, **shown))
        self.recorder.metrics({f"{self.name}/validation_{key}": value for key, value in shown.items()} | watch.take(), step=step)

    def _save(self, step: int) -> None:
        tensors = {"reference": _joined(self.scored), "held_out_reference": _joined(self.scored_held_out)}
        self.saved.save(step, tensors=tensors, state={"looks": [asdict(look) for look in self.looks]})

    def _resume(self) -> int:
        """Go on from the newest checkpoint and return its step; else take the reference and write that of the beginning."""
        checkpoint = self.saved.restore()
        if checkpoint is not None:
            self.scored = _referenced(self.groups, checkpoint.tensors["reference"].to(self.engine.whole.device))
            self.scored_held_out = _referenced(self.held_out, checkpoint.tensors["held_out_reference"].to(self.engine.whole.device))
            self.looks = [DirectLook(**look) for look in checkpoint.state["looks"]]
            return checkpoint.step
        self.scored, self.scored_held_out = self._reference(self.groups, self.plan), self._reference(self.held_out, [range(len(self.held_out))])
        self._save(0)  # where the record begins, so that a run cut before its first checkpoint is not counted twice
        return 0

    def _reference(self, groups: Sequence[PromptPairs], batches: Sequence[Sequence[int]]) -> ReferencedPairs:
        """Score groups under the weights the run starts from, whole on every rank for that while."""
        passes = partial(direct_passes, self.engine, groups, micro_tokens=self.settings.micro_tokens)
        with self.engine.gathered() as whole:
            logprobs = reference_logprobs(whole, groups, batches, passes=passes, precision=self.settings.precision, ranks=self.engine.ranks)
        return ReferencedPairs(groups, [values.to(self.engine.whole.device) for values in logprobs])


def _differing(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    return [pair for pair in pairs if pair.chosen != pair.rejected]


def _joined(scored: ReferencedPairs) -> Tensor:
    return torch.cat(list(scored.references)) if scored.references else torch.empty(0)


def _referenced(groups: Sequence[PromptPairs], logprobs_A: Tensor) -> ReferencedPairs:
    return ReferencedPairs(groups, logprobs_A.split([len(group.answers) for group in groups]))
