"""What ift, sft and cold_start share: fetch the model before, tune it, publish it, and record how it went."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.conversations import Sample
from components.stage import StageContext

if TYPE_CHECKING:
    from components.training.selection import Measure


def tune_and_publish(
    context: StageContext,
    samples: Sequence[Sample],
    *,
    parent: str,
    output: str,
    seed_offset: int,
    validation: Sequence[Sample] = (),
    measure: "Measure | None" = None,
    ratios: Mapping[str, float] | None = None,
    level_overlap: float | None = None,
) -> None:
    """Tune the model of `parent` (a `models/<name>.json`) with the settings section named as the stage; publish `output`.

    The other arguments are those of `tune`.
    """
    from components.modeling.models import load_model, save_model
    from components.modeling.tokenizers import load_tokenizer
    from components.training.supervised.tuning import tune

    source = context.fetch_model(parent)
    model, tokenizer = load_model(source), load_tokenizer(source)
    result = tune(
        model, tokenizer, samples, settings=context.section(context.name), seed=context.seed + seed_offset,
        recorder=context.recorder, checkpoints=context.checkpoints, ratios=ratios, level_overlap=level_overlap, validation=validation, measure=measure,
        engine=context.section("engine"),
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
    if result.before is not None and result.after is not None:
        values |= {"validation_loss_before": result.before.loss, "validation_loss_after": result.after.loss, "kept_step": result.after.step}
        if result.before.score is not None and result.after.score is not None:
            values |= {"validation_score_before": result.before.score, "validation_score_after": result.after.score}
    context.recorder.summary(values)
