"""Supervised tuning on a recipe's conversations."""

from time import perf_counter
from typing import Any

from components.modeling.models import save_model
from components.recorder import Recorder
from components.settings.recipes import SupervisedRecipe
from components.storage.checkpoints import CheckpointFolder
from components.training.recipes.inputs import TuningInputs
from components.training.recipes.outcome import Outcome
from components.training.supervised.tuning import tune


def run(
    model: Any, tokenizer: Any, recipe: SupervisedRecipe, inputs: TuningInputs, *, recorder: Recorder, checkpoints: CheckpointFolder
) -> Outcome:
    """Tune the model in place.

    Raises:
        DataError, Diverged, StorageError: see `tune`.
    """
    started = perf_counter()
    result = tune(
        model, tokenizer, inputs.training, settings=recipe.supervised, seed=recipe.seed, recorder=recorder, checkpoints=checkpoints,
        ratios=recipe.ratios or None, level_overlap=recipe.level_overlap, validation=inputs.validation, engine=recipe.engine,
    )  # fmt: skip
    if result.skipped:
        recorder.warning(f"{result.skipped} of {len(inputs.training)} conversations are longer than the model's context and were left out")
    summary = {"steps": float(result.steps), "tokens": float(result.tokens), "loss": result.loss, "seconds_update": perf_counter() - started}
    if result.before is not None and result.after is not None:
        summary |= {"validation_loss_first": result.before.loss, "validation_loss_last": result.after.loss, "kept_step": float(result.after.step)}
    return Outcome(summary, lambda folder: save_model(model, tokenizer, folder))
