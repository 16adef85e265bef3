"""The dvc.lock and model references that a registered version was made under: from its run's commit, else from the folder.

The commit is the truth. Where there is none (no git, or a run killed between registering and keeping), another kept run
or the project's own dvc.lock serves if it holds the very same model; else there is nothing, and that is said.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components import layout
from components.pipeline.kept_runs import KeptRun, kept_runs, list_kept, read_kept
from components.pipeline.locked_graph import LockedGraph, read_lock
from components.pipeline.run_reference import PREFIX
from components.pipeline.workspace import LOCK_FILE
from components.storage.artifact_store import ModelReference

REFERENCE = layout.GRPO_GENERAL  # of the candidate (registry.decision.CANDIDATE)


@dataclass(frozen=True)
class Lineage:
    """What a candidate's model was made from."""

    origin: str
    run: str | None
    commit: str | None
    graph: LockedGraph
    models: Mapping[str, ModelReference]  # models/<name>.json → content


class KeptLineages:
    """All lineages of a project, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def runs(self) -> dict[str, KeptRun]:
        """Return the kept runs by id, newest first."""
        return {kept.run: kept for kept in kept_runs(self.root)}

    @cached_property
    def candidates(self) -> dict[str, str]:
        """Return {run: digest of its candidate's model}."""
        texts = read_kept(self.root, [(kept, REFERENCE) for kept in self.runs.values()])
        return {run: reference.digest for (run, _), text in texts.items() if (reference := parse_reference(text)) is not None}

    def of(self, digest: str, *, run: str | None) -> Lineage | None:
        """Return the lineage of a candidate's model, that of `run` where it is kept."""
        same = [name for name, found in self.candidates.items() if found == digest]
        for name in sorted(same, key=lambda name: name != run):
            return self.kept(self.runs[name])
        present = self.present()
        found = present.models.get(REFERENCE) if present else None
        return present if found is not None and found.digest == digest else None

    def kept(self, kept: KeptRun) -> Lineage:
        """Return the lineage a run's commit holds.

        Raises:
            StorageError: its dvc.lock cannot be read.
        """
        origin = f"{PREFIX}/{kept.run}"
        paths = [LOCK_FILE, *list_kept(self.root, kept, "models")]
        texts = {path: text for (_, path), text in read_kept(self.root, [(kept, path) for path in paths]).items()}
        graph = read_lock(texts.pop(LOCK_FILE, ""), name=f"{origin}:{LOCK_FILE}")
        models = {path: reference for path, text in texts.items() if (reference := parse_reference(text)) is not None}
        return Lineage(origin, kept.run, kept.commit, graph, models)

    def present(self) -> Lineage | None:
        """Return the lineage of what lies in the project's folder, or None before the first stage."""
        lock = self.root / LOCK_FILE
        if not lock.is_file():
            return None
        paths = sorted((self.root / "models").glob("*.json"))
        read = {path.relative_to(self.root).as_posix(): parse_reference(path.read_text(encoding="utf-8")) for path in paths}
        models = {path: reference for path, reference in read.items() if reference is not None}
        return Lineage(LOCK_FILE, None, None, read_lock(lock.read_text(encoding="utf-8"), name=str(lock)), models)


def parse_reference(text: str) -> ModelReference | None:
    """Read a `models/<name>.json`; None where it is not one."""
    try:
        return ModelReference.model_validate(json.loads(text))
    except ValueError:
        return None


def parents(lineage: Lineage, path: str) -> list[tuple[str, ModelReference]]:
    """Return the model at `path` and its parents, back to the one that has none: [(path, reference)].

    A stage may keep its parent's weights (no step was better), so one digest may have two names: the parent is looked for
    among the models its stage read.
    """
    chain: list[tuple[str, ModelReference]] = []
    at: str | None = path
    while at is not None and at in lineage.models and all(name != at for name, _ in chain):
        reference = lineage.models[at]
        chain.append((at, reference))
        maker = lineage.graph.maker(at)
        read = [item.path for item in maker.inputs] if maker else sorted(lineage.models)
        at = next((name for name in read if name != at and name in lineage.models and lineage.models[name].digest == reference.parent), None)
    return chain
