"""Supervised tuning of a model on chat samples, and pre-training on plain text: two doors to one loop."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components.conversations import Sample
from components.errors import DataError
from components.modeling.adapters import attach_adapters
from components.recorder import Recorder
from components.settings.engine import EngineSettings
from components.settings.training import SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.selection import Measure
from components.training.supervised.examples import Example, chat_examples, text_examples
from components.training.supervised.loop import SupervisedRun
from components.training.supervised.progress import TuningResult
from components.training.supervised.sampling import in_curriculum_order, mixture_plan, shuffled_plan, token_plan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["TuningResult", "pretrain", "tune"]


def tune(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    samples: Sequence[Sample],
    *,
    settings: SupervisedSettings,
    seed: int,
    recorder: Recorder | None = None,
    checkpoints: CheckpointFolder | None = None,
    ratios: Mapping[str, float] | None = None,
    level_overlap: float | None = None,
    validation: Sequence[Sample] = (),
    measure: Measure | None = None,
    engine: EngineSettings | None = None,
) -> TuningResult:
    """Tune a model in place on the assistant turns of samples; with adapters where the settings ask for them.

    Args:
        ratios: share of each sample group in every batch; None: as the samples come.
        level_overlap: where given, samples go from level 1 to 3 within each group, overlapping by so many levels; else shuffled.
        validation: samples whose loss is looked at every `settings.validate_every` steps.
        measure: a score of the model, taken at each look; where given, the best score is the optimum, not the lowest loss.
        engine: what trains; None: torch in this process.
    Raises:
        DataError: no sample fits the model's context.
        Diverged, StorageError: see `SupervisedRun.run`.
    """
    context = model.config.max_position_embeddings
    fitting = [
        (sample, example)
        for sample, example in zip(samples, chat_examples(tokenizer, samples, context=context), strict=True)
        if example
    ]
    skipped = len(samples) - len(fitting)
    if not fitting:
        raise DataError(
            f"none of {len(samples)} samples fits the model's context of {context} tokens; raise model.context or shorten them"
        )
    groups = [sample.group for sample, _ in fitting]
    if ratios:
        plan = mixture_plan(groups, ratios=ratios, steps=settings.steps, batch=settings.batch_samples, seed=seed)
    else:
        plan = shuffled_plan(len(fitting), steps=settings.steps, batch=settings.batch_samples, seed=seed)
    if level_overlap is not None:
        plan = in_curriculum_order(plan, levels=[sample.level for sample, _ in fitting], groups=groups, overlap=level_overlap, seed=seed)
    attach_adapters(model, settings.adapters, seed=seed)
    run = SupervisedRun(
        model, [example for _, example in fitting], plan, settings=settings, recorder=recorder, checkpoints=checkpoints,
        validation=_present(chat_examples(tokenizer, validation, context=context)), measure=measure, engine=engine,
        names=[sample.id for sample, _ in fitting],
    )  # fmt: skip
    return dataclasses.replace(run.run(), skipped=skipped)


def pretrain(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str],
    *,
    settings: SupervisedSettings,
    seed: int,
    recorder: Recorder | None = None,
    checkpoints: CheckpointFolder | None = None,
    validation: Sequence[str] = (),
    engine: EngineSettings | None = None,
) -> TuningResult:
    """Train a model in place on plain texts, each isolated, `settings.batch_tokens` tokens a step.

    Raises:
        DataError: no text.
        Diverged, StorageError: see `SupervisedRun.run`.
    """
    context = model.config.max_position_embeddings
    examples = text_examples(tokenizer, texts, context=context)
    if not examples:
        raise DataError("no text to pre-train on; look at the reports of curate and knowledge")
    if settings.batch_tokens:
        lengths = [len(example.ids) for example in examples]
        plan = token_plan(lengths, steps=settings.steps, batch_tokens=settings.batch_tokens, seed=seed)
    else:
        plan = shuffled_plan(len(examples), steps=settings.steps, batch=settings.batch_samples, seed=seed)
    attach_adapters(model, settings.adapters, seed=seed)
    run = SupervisedRun(
        model, examples, plan, settings=settings, recorder=recorder, checkpoints=checkpoints,
        validation=text_examples(tokenizer, validation, context=context), engine=engine,
    )  # fmt: skip
    return run.run()


def _present(examples: Sequence[Example | None]) -> list[Example]:
    return [example for example in examples if example]
