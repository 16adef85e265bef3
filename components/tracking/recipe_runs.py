"""Log a recipe's run (`quarkmed train --mlflow`) once it has ended: a run of its own, and below it the record replayed as a stage's is.

Nothing is told while it trains, so neither a crash nor a dead server loses or doubles anything: the command given again
logs what is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.registry.process_names import process_name
from components.tracking.addresses import served_at
from components.tracking.dead_runs import PROCESS
from components.tracking.replay import end_run, replay_stage, start_run
from components.tracking.tracking_store import wait_for_server

NAME_LETTERS = 8  # of the key, in the run's name


@dataclass(frozen=True)
class EndedRecipe:
    """What MLflow is told of a recipe's run beside its record."""

    name: str  # of the output folder
    kind: str
    key: str  # digest of everything the result depends on
    record: Path
    file: Path  # the recipe itself, kept with the run
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]  # path → digest
    summary: Mapping[str, float]

    @property
    def run(self) -> str:
        """The run's name in MLflow."""
        return f"train-{self.name}-{self.key[:NAME_LETTERS]}"


def check_tracking(root: Path) -> None:
    """Return where the project's MLflow can be told of a run later, without importing MLflow.

    Raises:
        ServiceError: MLFLOW_TRACKING_URI names a server that does not answer.
    """
    address = served_at(root)
    if address is not None:
        wait_for_server(address)


def log_recipe(root: Path, ended: EndedRecipe) -> str:
    """Log an ended run to the project's MLflow and return its name there; once, however often it is asked for.

    Raises:
        ServiceError, StorageError: MLflow cannot be reached or written; nothing is lost.
    """
    folder, stage = str(root), f"train_{ended.kind}"
    start_run(folder, ended.run, tags={PROCESS: process_name(), "quarkmed.recipe": ended.kind})
    report = {"name": stage, "key": ended.key, "folder": str(ended.record), "parameters": ended.parameters, "inputs": ended.inputs}
    replay_stage(folder, ended.run, report)
    end_run(folder, ended.run, status="FINISHED", metrics=ended.summary, tags={}, files=[str(ended.file)])
    return ended.run
