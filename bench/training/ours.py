"""Our side of each work: the very loops the stages run, timed by what they record.

A turn is a run of its own from the same weights; its first optimiser step is not measured, nor is what comes before it
(the optimiser, tokenising), as on the peer's side.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from components.conversations import PreferencePair
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.recorder import Recorder
from components.settings.training import DirectPreferenceSettings, OptimiserSettings, PolicySettings, SupervisedSettings
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.preference.direct import tune_on_preferences
from components.training.preference.tuning import tune_reward_model
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from components.modeling.precision import Precision

LEARNING_RATE = 1e-6  # low: weights, and so answers' lengths, stay as they are
OPTIMISER = OptimiserSettings(learning_rate=LEARNING_RATE, warmup_steps=0, schedule="constant", weight_decay=0.0)


class TimedRecorder(Recorder):
    """A recorder that also keeps when each optimiser step was recorded, and what."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[tuple[float, dict[str, float]]] = []

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Record, and keep the steps' own lines (those with a loss)."""
        super().metrics(values, step=step)
        if any(name.split("/")[-1] == "loss" for name in values):
            self.steps.append((perf_counter(), dict(values)))

    def measured(self) -> tuple[float, list[dict[str, float]]]:
        """Return seconds from the end of the first step to the end of the last, and the measured steps' values."""
        return self.steps[-1][0] - self.steps[0][0], [values for _, values in self.steps[1:]]


class Rollouts:
    """Sampling; a turn of kind `fixed` or `stops` samples from the model of that name."""

    def __init__(
        self, models: "Mapping[str, PreTrainedModel]", tokenizer: "PreTrainedTokenizerFast", prompts: Sequence[Sequence[int]], *,
        samples: int, max_new_tokens: int, precision: "Precision",
    ) -> None:  # fmt: skip
        self.samplers = {kind: NativeSampler(model, tokenizer, precision=precision) for kind, model in models.items()}
        self.prompts, self.samples, self.max_new_tokens = prompts, samples, max_new_tokens
        self._seed = 0
        for kind in models:
            self.turn(kind)

    def turn(self, kind: str) -> dict[str, float]:
        """Sample once, with a new seed each time."""
        self._seed += 1
        options = SamplingOptions(max_new_tokens=self.max_new_tokens, samples=self.samples, temperature=1.0, seed=self._seed)
        started = perf_counter()
        completions = self.samplers[kind].generate(self.prompts, options)
        seconds = perf_counter() - started
        answers = [answer for group in completions for answer in group]
        return {"seconds": seconds, "samples": len(answers), "tokens": sum(len(answer.ids) for answer in answers)}


def pseudo_reward(prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[dict[str, float]]:
    """Return what the peer's reward of the same name returns."""
    return [{"score": sum(text.encode()) % 101 / 100} for text in texts]


def policy_steps(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: Sequence[Sequence[int]], *,
    samples: int, max_new_tokens: int, steps: int, kl_weight: float, precision: "Precision", optimiser: OptimiserSettings = OPTIMISER, **others: Any,
) -> TimedRecorder:  # fmt: skip
    """Run the policy loop with every prompt in every step and return its record; `others`: further policy settings."""
    settings = PolicySettings(
        optimiser=optimiser, steps=steps, prompts_per_step=len(prompts), completions=samples, max_new_tokens=max_new_tokens, kl_weight=kl_weight,
        mask_truncated=False, refill_rounds=0, mastered_pass_rate=1.0, precision=precision, **others,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        optimise_policy(
            model, [PolicyPrompt(str(number), "bench", tuple(ids)) for number, ids in enumerate(prompts)], pseudo_reward,
            sampler=NativeSampler(model, tokenizer, precision=precision), settings=settings, seed=1, recorder=recorder, mastery="score",
        )  # fmt: skip
    return recorder


def grpo_turn(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: Sequence[Sequence[int]], *,
    samples: int, max_new_tokens: int, steps: int, kl_weight: float, precision: "Precision",
) -> dict[str, float]:  # fmt: skip
    """Run the policy loop for `steps` measured optimiser steps."""
    seconds, values = policy_steps(
        model, tokenizer, prompts, samples=samples, max_new_tokens=max_new_tokens, steps=steps + 1, kl_weight=kl_weight, precision=precision
    ).measured()
    names = ("generate", "score", "reference", "policy", "optimiser", "floor_generate", "floor_update")
    parts = {f"seconds_{name}": sum(step[f"seconds_{name}"] for step in values) for name in names}
    return {"seconds": seconds, "steps": steps, "samples": len(prompts) * samples * steps, "tokens": sum(step["sampled_tokens"] for step in values), **parts}


def sft_turn(model: "PreTrainedModel", examples: Sequence[Example], *, batch: int, precision: "Precision") -> dict[str, float]:
    """Run the supervised loop over every example once, after one step more on the first batch."""
    plan = [list(range(start, min(start + batch, len(examples)))) for start in range(0, len(examples), batch)]
    settings = SupervisedSettings(optimiser=OPTIMISER, steps=len(plan) + 1, batch_samples=batch, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        SupervisedRun(model, examples, [plan[0], *plan], settings=settings, recorder=recorder).run()
        seconds, _ = recorder.measured()
    counts: dict[str, Any] = {"tokens": sum(len(example.ids) for example in examples), "targets": sum(example.targets for example in examples)}
    return {"seconds": seconds, "steps": len(plan), **counts}


def reward_turn(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", pairs: Sequence[PreferencePair], *, batch: int, steps: int, centring: float, precision: "Precision"
) -> dict[str, float]:
    """Tune the reward model for `steps` measured optimiser steps."""
    settings = SupervisedSettings(optimiser=OPTIMISER, steps=steps + 1, batch_samples=batch, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        tune_reward_model(
            model, tokenizer, pairs, settings=settings, centring=centring, margin_scale=0.0, seed=1, recorder=recorder, name="bench"
        )
        seconds, _ = recorder.measured()
    return {"seconds": seconds, "steps": steps, "samples": batch * steps}


def direct_turn(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", pairs: Sequence[PreferencePair], *, batch: int, steps: int, beta: float, precision: "Precision"
) -> dict[str, float]:
    """Tune the policy on pairs for `steps` measured optimiser steps; the reference is scored before them."""
    settings = DirectPreferenceSettings(optimiser=OPTIMISER, steps=steps + 1, batch_pairs=batch, beta=beta, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        tune_on_preferences(model, tokenizer, pairs, settings=settings, seed=1, recorder=recorder)
        seconds, _ = recorder.measured()
    return {"seconds": seconds, "steps": steps, "samples": batch * steps}
