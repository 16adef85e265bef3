"""What a stage is given: its settings, its declared paths, a recorder, the store and its checkpoints.

A stage is a function `run(context)` that reads declared inputs and writes declared outputs. It knows nothing of
Prefect, MLflow, DVC or Kubernetes. Declared means: named in the stage's row of dvc.yaml; anything else is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import SettingsError
from components.recorder import Recorder
from components.settings.base import Section
from components.settings.settings import Settings
from components.storage.artifact_store import ArtifactStore, ModelReference, read_reference, write_reference
from components.storage.checkpoints import CheckpointFolder


@dataclass(frozen=True)
class StageContext:
    """Everything one run of one stage may touch."""

    name: str
    root: Path
    all_settings: Settings
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    recorder: Recorder
    checkpoints: CheckpointFolder
    store: ArtifactStore

    @property
    def seed(self) -> int:
        """The run's seed; every stage adds its own words to it through `generator_seed`."""
        return self.section("run").seed

    def section(self, name: str) -> Any:
        """Return a section of the settings that dvc.yaml says this stage reads.

        Raises:
            SettingsError: the section is not among the stage's `params`, so a change of it would not be noticed.
        """
        if name not in self.parameters:
            raise SettingsError(f"dvc.yaml: stage {self.name} reads section {name!r} of params.yaml without naming it under params")
        section: Section = getattr(self.all_settings, name)
        return section

    def read(self, path: str) -> Path:
        """Return the absolute path of a declared input."""
        return self._declared(path, self.inputs, "deps")

    def write(self, path: str) -> Path:
        """Return the absolute path of a declared output, its folder made."""
        absolute = self._declared(path, self.outputs, "outs")
        absolute.parent.mkdir(parents=True, exist_ok=True)
        return absolute

    def fetch_model(self, path: str) -> Path:
        """Return the local folder of the model a declared `models/<name>.json` refers to."""
        return self.store.fetch(read_reference(self.read(path)))

    def publish_model(self, folder: Path, path: str, *, parent: str | None = None) -> ModelReference:
        """Publish a finished model folder and write its reference; `parent` is the input path of the model before it."""
        parent_digest = read_reference(self.read(parent)).digest if parent else None
        reference = self.store.publish(folder, parent=parent_digest)
        write_reference(self.write(path), reference)
        return reference

    def _declared(self, path: str, declared: tuple[str, ...], kind: str) -> Path:
        if not any(path == item or path.startswith(f"{item.rstrip('/')}/") for item in declared):
            raise SettingsError(f"dvc.yaml: stage {self.name} uses {path} without naming it under {kind}")
        return self.root / path


def declared_stages(dvc_file: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return, for each stage of a parsed dvc.yaml, its `params`, `deps`, `outs` (with metrics and plots) and named `folders` as tuples."""
    stages = {}
    for name, row in dvc_file["stages"].items():
        outs = [*row.get("outs", []), *row.get("metrics", []), *row.get("plots", [])]
        stages[name] = {
            "params": tuple(row.get("params", [])),
            "deps": tuple(row.get("deps", [])),
            "outs": tuple(item if isinstance(item, str) else next(iter(item)) for item in outs),
            "folders": tuple(row.get("meta", {}).get("folders", [])),
        }
    return stages
