"""A policy tuned straight on a recipe's preference pairs (DPO, IPO, conservative DPO)."""

from time import perf_counter
from typing import Any

from components.modeling.models import save_model
from components.recorder import Recorder
from components.settings.recipes import PreferenceRecipe
from components.storage.checkpoints import CheckpointFolder
from components.training.preference.direct import tune_on_preferences
from components.training.recipes.inputs import TuningInputs
from components.training.recipes.outcome import Outcome


def run(
    model: Any, tokenizer: Any, recipe: PreferenceRecipe, inputs: TuningInputs, *, recorder: Recorder, checkpoints: CheckpointFolder
) -> Outcome:
    """Tune the model in place; the model as it came is the reference. `loss`, `margin` and `accuracy` are of the validation pairs, without any of the training ones.

    Raises:
        DataError, Diverged, StorageError: see `tune_on_preferences`.
    """
    started = perf_counter()
    result = tune_on_preferences(
        model, tokenizer, inputs.training, settings=recipe.preference, seed=recipe.seed, recorder=recorder, checkpoints=checkpoints,
        validation=inputs.validation or inputs.training, engine=recipe.engine,
    )  # fmt: skip
    if result.skipped:
        recorder.warning(f"{result.skipped} of {len(inputs.training)} pairs have two equal answers or are longer than the model's context; they were left out")
    summary = {"steps": float(result.steps), "pairs": float(result.pairs), "seconds_update": perf_counter() - started}
    if result.before is not None and result.after is not None:
        summary |= {"loss": result.after.loss, "margin": result.after.margin, "accuracy": result.after.accuracy}
    return Outcome(summary, lambda folder: save_model(model, tokenizer, folder))
