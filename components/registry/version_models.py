"""The model behind a registered version: its reference, read from the artifact `model.json`, and its bytes, checked in the store.

A version's source is an artifact folder of its MLflow run; MLflow does not check that it exists, so everything that is
about to rest on a version asks here first.
"""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import StorageError
from components.registry.version_reading import VersionRecord
from components.registry.versions import check_manifest
from components.storage.artifact_store import ModelReference
from components.storage.store_address import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MANIFEST = "model.json"


def version_reference(client: "MlflowClient", record: VersionRecord) -> ModelReference:
    """Return the model reference of a version.

    Raises:
        StorageError: the run's artifact is gone or damaged.
    """
    from mlflow.exceptions import MlflowException

    base = client.get_run(record.mlflow_run).info.artifact_uri.rstrip("/") if record.mlflow_run else ""
    path = f"{record.source.removeprefix(f'{base}/')}/{MANIFEST}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(client.download_artifacts(record.mlflow_run, path, folder)).read_text(encoding="utf-8")
        return ModelReference.model_validate({name: value for name, value in json.loads(text).items() if name in ModelReference.model_fields})
    except (MlflowException, OSError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{record.model} version {record.version}: its {MANIFEST} under {record.source} cannot be read ({type(error).__name__}); "
            "run `quarkmed doctor`, and `quarkmed retrain` at the version's commit to make it again"
        ) from None


def stored_reference(root: Path, client: "MlflowClient", record: VersionRecord) -> ModelReference:
    """Return the reference of a version whose bytes are in the store as they were published.

    Raises:
        StorageError: the manifest or the bytes are missing or damaged; the version cannot be served.
    """
    reference = version_reference(client, record)
    try:
        check_manifest(open_store(root), reference)
    except StorageError as error:
        raise StorageError(f"{record.model} version {record.version} cannot be served, so no alias was changed: {error}") from None
    return reference
