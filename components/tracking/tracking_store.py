"""Where MLflow keeps its state: one SQLite database and one artifact folder under var/, written by one process at a time.

Runs in workspaces of their own share it (var/mlflow is a link there), so its places are named by where they really lie.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import StorageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "var/mlflow"
EXPERIMENT = "quarkmed"


def tracking_uri(root: Path) -> str:
    """Return the store's address. The file store of MLflow is gone since 3.13; PostgreSQL serves a team."""
    return f"sqlite:///{(root / FOLDER).resolve() / 'mlflow.db'}"


def open_client(root: Path) -> "MlflowClient":
    """Return a client of the project's store, making the database on first use.

    Raises:
        StorageError: the database cannot be opened.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        return MlflowClient(tracking_uri(root), registry_uri=tracking_uri(root))
    except MlflowException as error:
        raise StorageError(f"{root / FOLDER}/mlflow.db: cannot be opened ({error}); move the file away, MLflow is refilled from the records") from None


def experiment_id(client: "MlflowClient", root: Path) -> str:
    """Return the id of the project's experiment, making it on first use."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = (root / FOLDER).resolve() / "artifacts"
    location.mkdir(parents=True, exist_ok=True)
    return str(client.create_experiment(EXPERIMENT, artifact_location=location.as_uri()))


@contextlib.contextmanager
def sole_writer(root: Path) -> Iterator[None]:
    """Wait for, and be, the only process that replays runs: what another has half replayed must not be taken for a killed one's."""
    path = root / FOLDER / "writer.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
