"""A client of the project's MLflow: one SQLite database under var/ written by one process at a time, a PostgreSQL database, or a server.

Which of them is in `components/tracking/addresses.py`.

Runs in workspaces of their own share it (var/mlflow is a link there), so its places are named by where they really lie.
"""

import contextlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import ServiceError, StorageError
from components.storage.files import exclusive
from components.tracking.addresses import (
    FOLDER,
    TRACKING_VARIABLE,
    artifacts_address,
    served_at,
    tracking_uri,
    without_password,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "quarkmed"
SERVER_RETRIES = "5"  # of MLflow's client, with growing waits: about a minute, where its own default is four
HEALTH_SECONDS = 5.0
HEALTH_TRIES = 3


def open_client(root: Path) -> "MlflowClient":
    """Return a client of the project's MLflow, making its tables on first use.

    Raises:
        ServiceError: MLFLOW_TRACKING_URI names a server that does not answer.
        StorageError: the database cannot be opened.
    """
    server = served_at(root)
    if server is not None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", SERVER_RETRIES)
        wait_for_server(server)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    address = tracking_uri(root)
    try:
        return MlflowClient(address, registry_uri=address)
    except (MlflowException, SQLAlchemyError) as error:
        raise StorageError(f"{without_password(address)}: cannot be opened ({without_password(str(error))[:300]}); {_mending(address)}") from None


def wait_for_server(address: str) -> None:
    """Return once an MLflow server answers.

    Raises:
        ServiceError: it does not, tried a few times.
    """
    for trial in range(HEALTH_TRIES):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=HEALTH_SECONDS):
                return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
        time.sleep(0.3 * trial)
    raise ServiceError(f"the MLflow server at {without_password(address)} does not answer ({reason}); start it, or mend or unset {TRACKING_VARIABLE}; nothing is lost, records are replayed later")


def experiment_id(client: "MlflowClient", root: Path) -> str:
    """Return the id of the project's experiment, making it on first use; a server chooses itself where its files lie."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = None if served_at(root) else artifacts_address(root)
    if location and location.startswith("file:"):
        (root / FOLDER / "artifacts").mkdir(parents=True, exist_ok=True)
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:
        found = client.get_experiment_by_name(EXPERIMENT)  # another process was quicker
        if found is None:
            raise
        return str(found.experiment_id)


@contextlib.contextmanager
def sole_writer(root: Path) -> Iterator[None]:
    """Wait for, and be, the only process that replays runs: what another has half replayed must not be taken for a killed one's."""
    with exclusive(root / FOLDER / "writer.lock"):
        yield


def _mending(address: str) -> str:
    if address.startswith("sqlite"):
        return "move the file away, MLflow is refilled from the records"
    return "check system.mlflow_database (or MLFLOW_BACKEND_STORE_URI), the password's place (PGPASSFILE or PGPASSWORD), and that the database runs"
