"""The model behind a registered version: its reference, read from the artifact `model.json`, and its bytes, checked in the store.

A version's source is an artifact folder of its MLflow run; MLflow does not check that it exists, so everything that is
about to rest on a version asks here first.
"""

import json
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import StorageError
from components.registry.promotion import CHAMPION
from components.registry.version_reading import VersionRecord, registered_versions
from components.registry.versions import PURGED, check_manifest
from components.storage.artifact_store import ArtifactStore, ModelReference
from components.storage.store_address import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MANIFEST = "model.json"
KEY_LETTERS = 32  # of a digest, in a store's key
NAMED = 3  # of the versions that can be served, how many a message names


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


def stored_reference(root: Path, client: "MlflowClient", record: VersionRecord, *, instead: Collection[str] | None = None) -> ModelReference:
    """Return the reference of a version whose bytes are in the store as they were published.

    Args:
        instead: versions a message may name as ones to take instead; all but the champion where None.
    Raises:
        StorageError: the manifest or the bytes are missing or damaged, or were purged; the version cannot be served.
    """
    reference, store = version_reference(client, record), open_store(root)
    try:
        check_manifest(store, reference)
    except StorageError as error:
        why = str(error) if store.has(reference) else _why_gone(record, reference)
        raise StorageError(
            f"{record.model} version {record.version} cannot be served, so no alias was changed: {why}; {_others(client, store, record, instead=instead)}"
        ) from None
    return reference


def reference_of(digest: str) -> ModelReference:
    """Return a reference by which a store finds a model."""
    return ModelReference(key=f"models/{digest[:KEY_LETTERS]}", digest=digest, size_bytes=0)


def _why_gone(record: VersionRecord, reference: ModelReference) -> str:
    purge = record.tags.get(PURGED)
    if purge is not None:
        return f"purge {purge} of `quarkmed forget` deleted its model's files, because it comes from what was withdrawn"
    commit = record.tags.get("quarkmed.git_sha")
    return f"the store has no {reference.key} (`quarkmed doctor` tells more); `quarkmed retrain --revision {commit or '<its commit>'}` makes it again"


def _others(client: "MlflowClient", store: ArtifactStore, record: VersionRecord, *, instead: Collection[str] | None) -> str:
    """Say which versions can be served, the newest first."""
    found: list[str] = []
    for other in reversed(registered_versions(client, record.model)):
        digest, is_meant = other.tags.get("quarkmed.model_digest", ""), CHAMPION not in other.aliases if instead is None else other.version in instead
        if len(found) < NAMED and is_meant and other.version != record.version and digest and store.has(reference_of(digest)):
            found.append(other.version)
    if not found:
        return "there is no other version to take instead: `quarkmed retrain` makes a new one"
    return f"version{'s' if len(found) > 1 else ''} {', '.join(found)} can be taken instead"
