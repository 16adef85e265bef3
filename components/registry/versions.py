"""Model versions and aliases in MLflow's registry: made once a stage key, from an artifact folder holding `model.json`.

MLflow does not check that a version's source exists, so the model's manifest is checked first; and concurrent
creation has raced, so a version is looked up by its tag `quarkmed.stage_key` before it is made.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.errors import StorageError
from components.storage.artifact_store import ArtifactStore, ModelReference

if TYPE_CHECKING:
    from mlflow import MlflowClient

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second: an alias that is not set
CANDIDATE = "grpo_general"  # which model of a run is registered
PURGED = "quarkmed.purged"  # tag of a version whose model's files were deleted: the number of the purge


class MlflowVersions:
    """The versions and aliases of one registered model."""

    def __init__(self, client: "MlflowClient", model: str) -> None:
        self.client = client
        self.model = model

    def register(self, *, stage_key: str, run_id: str, artifact: str, tags: Mapping[str, str], description: str) -> str:
        """Return the version of a stage's result, made where there is none yet.

        Args:
            stage_key: of the stage that made the model.
            run_id: the MLflow run that holds the artifact folder.
            artifact: folder in the run's artifacts that holds model.json.
        """
        self._ensure_model()
        found = self._by_stage_key(stage_key)
        if found is not None:
            return found
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{artifact}"
        version = self.client.create_model_version(
            self.model, source, run_id=run_id, tags={**tags, "quarkmed.stage_key": stage_key}, description=description
        )
        return str(version.version)

    def get_alias(self, alias: str) -> str | None:
        """Return the version an alias names, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version_by_alias(self.model, alias).version)
        except MlflowException as error:
            return _none_if_absent(error)

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias name a version."""
        self.client.set_registered_model_alias(self.model, alias, version)

    def has_version(self, version: str) -> bool:
        """Say whether the registry holds a version."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version(self.model, version) is not None
        except MlflowException as error:
            return bool(_none_if_absent(error))

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(self.model)
        except MlflowException as error:
            _none_if_absent(error)
            self.client.create_registered_model(self.model, description="Made by `quarkmed retrain`; the journal decides who is champion.")

    def _by_stage_key(self, stage_key: str) -> str | None:
        found = self.client.search_model_versions(f"name='{self.model}'", max_results=1000)
        versions = [int(item.version) for item in found if item.tags.get("quarkmed.stage_key") == stage_key]
        return str(min(versions)) if versions else None


def _none_if_absent(error: Any) -> None:
    """Return None where MLflow says that there is no such thing; a registry that does not answer is not an empty one.

    Raises:
        StorageError: anything else went wrong.
    """
    if error.error_code not in ABSENT:
        raise StorageError(f"the model registry does not answer as it should ({str(error)[:300]}); nothing was decided, run again when it does") from error


def check_manifest(store: ArtifactStore, reference: ModelReference) -> None:
    """Check that the store holds the model's bytes as published.

    Raises:
        StorageError: it does not.
    """
    store.fetch(reference)
