"""The files of stages' MLflow runs: which runs recorded given outputs, what files they hold, and deleting them.

Metrics, parameters and tags stay: they hold numbers, ids and digests. So does `models/`, the source of a registered
version: a reference of a few bytes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking.addresses import is_made
from components.tracking.tracking_store import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEPT = "models"


def has_runs(root: Path) -> bool:
    """Say whether the project has an MLflow store yet, without importing MLflow."""
    return is_made(root)


def runs_of_stage(client: "MlflowClient", root: Path, *, stage: str, outputs: Mapping[str, str]) -> Iterator[str]:
    """Yield the ids of the runs, deleted ones too, into which a stage was replayed that made these outputs ({path: DVC digest})."""
    from mlflow.entities import ViewType

    conditions = [f"tags.`quarkmed.stage` = '{stage}'", *(f"tags.`quarkmed.output.{path}` = '{digest}'" for path, digest in outputs.items())]
    for run in client.search_runs([experiment_id(client, root)], " and ".join(conditions), run_view_type=ViewType.ALL, max_results=1000):
        yield str(run.info.run_id)


def shown_files(client: "MlflowClient", run: str) -> list[tuple[str, int | None]]:
    """Return the top names among a run's files but for models/, each with its size in bytes (None of a folder)."""
    return [(str(item.path), item.file_size) for item in client.list_artifacts(run) if item.path != KEPT]


def delete_files(client: "MlflowClient", run: str, name: str) -> None:
    """Delete a file or folder of a run."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(client.get_run(run).info.artifact_uri).delete_artifacts(name)
