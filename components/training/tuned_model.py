"""What ift, sft and cold_start share: fetch the model before, tune it, publish it, and record how it went."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from components.conversations import Sample
from components.stage import StageContext


def tune_and_publish(
    context: StageContext,
    samples: Sequence[Sample],
    *,
    parent: str,
    output: str,
    seed_offset: int,
    validation: Sequence[Sample] = (),
    ratios: Mapping[str, float] | None = None,
    order: Literal["shuffled", "curriculum"] = "shuffled",
) -> None:
    """Tune the model of `parent` (a `models/<name>.json`) with the settings section named as the stage; publish `output`."""
    from components.modeling.models import load_model, save_model
    from components.modeling.tokenizers import load_tokenizer
    from components.training.supervised.tuning import tune

    source = context.fetch_model(parent)
    model, tokenizer = load_model(source), load_tokenizer(source)
    result = tune(
        model, tokenizer, samples, settings=context.section(context.name), seed=context.seed + seed_offset,
        recorder=context.recorder, checkpoints=context.checkpoints, ratios=ratios, order=order, validation=validation,
    )  # fmt: skip
    if result.skipped:
        context.recorder.note(
            f"{result.skipped} of {len(samples)} samples are longer than the model's context and were left out"
        )
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, tokenizer, Path(folder))
        context.publish_model(Path(folder), output, parent=parent)
    values = {
        "steps": result.steps,
        "tokens": result.tokens,
        "loss": result.loss,
        "samples": len(samples),
        "skipped": result.skipped,
    }
    if result.validation_before is not None and result.validation_after is not None:
        values |= {
            "validation_loss_before": result.validation_before,
            "validation_loss_after": result.validation_after,
            "best_step": result.best_step,
        }
    context.recorder.summary(values)
