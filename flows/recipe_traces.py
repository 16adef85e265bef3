"""What a recipe's run leaves beside its model and record: a log for machines, samples of what it used, and a run in MLflow where asked for.

    <output>/logs/train.jsonl       JSON lines (components/observing/run_log.py); of further processes train-rank-1.jsonl
    <output>/record/usage.jsonl     memory, processor, GPU, energy; of further processes usage-rank-1.jsonl
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.observing.run_log import LOG_FILE, RUN, SUFFIX, open_process_log
from components.observing.stage_watch import watched_stage
from components.settings.system import SystemSettings
from components.training.recipes.running import LOGS, RECORD, PreparedRun, RecipeRun, Watch

if TYPE_CHECKING:
    from components.tracking.recipe_runs import EndedRecipe

LOG = "train"
INPUTS = ("data", "validation")


def watching(prepared: PreparedRun) -> Watch:
    """Open this process's log in the output folder and return what stands around the training: log lines and samples.

    A log that the environment names already is kept to.
    """
    own = {LOG_FILE: str(prepared.output / LOGS / f"{LOG}{SUFFIX}"), RUN: prepared.output.name}
    open_process_log({**own, **os.environ})
    return partial(watched_stage, prepared.recipe.kind, sample_seconds=SystemSettings().sample_seconds, rank=prepared.processes.rank)


def check_mlflow(project: Path) -> None:
    """Refuse, before hours of training, an MLflow server that does not answer.

    Raises:
        ServiceError: it does not.
    """
    from components.tracking.recipe_runs import check_tracking

    check_tracking(project)


def log_to_mlflow(project: Path, path: Path, prepared: PreparedRun, run: RecipeRun) -> str:
    """Log an ended run to the project's MLflow, once, and return its name there; imports MLflow.

    Raises:
        ServiceError, StorageError: MLflow cannot be reached or written; the command given again logs it.
    """
    from components.tracking.recipe_runs import log_recipe

    return log_recipe(project, ended_recipe(path, prepared, run))


def ended_recipe(path: Path, prepared: PreparedRun, run: RecipeRun) -> "EndedRecipe":
    """Return what MLflow is told of a run: settings, digests of what it was made of, final numbers."""
    from components.lineage import digest_value
    from components.tracking.recipe_runs import EndedRecipe

    recipe, identity = prepared.recipe, prepared.identity
    inputs = {getattr(recipe, name): str(identity[name]) for name in INPUTS if name in identity}
    digests = {"model_digest": identity["model"], "code_digest": identity["code"], "libraries": identity["libraries"]}
    return EndedRecipe(
        name=run.output.name, kind=recipe.kind, key=digest_value(identity), record=run.output / RECORD, file=path,
        parameters={**recipe.model_dump(mode="json"), **digests, "threads": prepared.threads}, inputs=inputs, summary=run.summary,
    )  # fmt: skip
