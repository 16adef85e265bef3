"""Run a version's stages again in a clean workspace and say which outputs come out with the same digests.

The workspace is a work tree at the run's kept commit: its code, parameters and dvc.lock, and no cache, so nothing is
restored. Every stage is judged on the inputs that the dvc.lock names: where a stage before it came out different, the
locked version takes the place of the new one. Stages run as `quarkmed stage <name>` in processes of their own, in the
code of that commit; MLflow, the store and DVC of the project are only read.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.pipeline.clean_workspace import LockedData, clean_workspace
from components.pipeline.data_digest import data_digest, folder_listing
from components.pipeline.dvc_cache import cache_folder, cached_object, read_listing
from components.pipeline.graph import load_graph, overlaps
from components.pipeline.locked_graph import MODELS, LockedStage
from components.pipeline.worktrees import remove_worktree
from components.provenance.kept_lineage import KeptLineages, Lineage, parse_reference
from components.provenance.withdrawn_since import refuse_withdrawn
from components.registry.version_reading import find_version, open_registry
from components.settings.settings import load_settings
from components.storage.files import read_json, write_json

FOLDER = "var/reproductions"
PROGRESS = "var/reproduced.json"
COMMAND = (sys.executable, "-m", "flows.cli", "stage")
SHOWN_LETTERS = 500  # of the end of a failed stage's output


@dataclass(frozen=True)
class ReproducedOutput:
    """An output then and now: DVC digests, for a model also the SHA-256 of its files; `differing` are a folder's files."""

    path: str
    then: str
    now: str
    model_then: str | None = None
    model_now: str | None = None
    differing: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Say whether the bytes are the same."""
        return self.then == self.now


@dataclass(frozen=True)
class Reproduction:
    """What came out, stage by stage."""

    version: str
    commit: str
    folder: str
    stages: dict[str, tuple[ReproducedOutput, ...]]
    seconds: dict[str, float]
    notes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Say whether every output of every stage that ran is the same."""
        return all(output.is_equal for outputs in self.stages.values() for output in outputs)


def reproduce(
    root: Path, wanted: str, *, stages: Iterable[str] = (), until: str | None = None, command: Sequence[str] = COMMAND, report: Callable[[str], None] = lambda line: None
) -> Reproduction:
    """Run the stages of a version again.

    Args:
        wanted: models:/name@alias, an alias or a version's number; or the id of a kept run.
        stages: run only these; with neither this nor `until`, all.
        until: run the stages up to and with this one.
        command: what runs a stage, its name put behind.
        report: told of each stage as it ends.
    Raises:
        UserError: there is no such version, run or stage; no commit keeps it; data of its dvc.lock cannot be had; it holds
            what was withdrawn since; a stage fails.
    """
    name, lineage = _lineage(root, wanted)
    if lineage.run is None or lineage.commit is None:
        raise UserError(f"{wanted}: no commit under refs/quarkmed/runs keeps its run, so its code is unknown and it cannot be reproduced")
    folder = root / FOLDER / lineage.run
    resumed = clean_workspace(root, folder, commit=lineage.commit)
    try:
        chosen = _chosen(folder, lineage, tuple(stages), until)
        refuse_withdrawn(root, folder, lineage)
        data = LockedData(root, folder)
        _refuse_missing(lineage, chosen, data, name)
    except UserError:
        remove_worktree(root, folder)
        raise
    done: dict[str, Any] = read_json(folder / PROGRESS) if resumed and (folder / PROGRESS).is_file() else {}
    for stage in chosen:
        if stage.name not in done:
            done[stage.name] = _run_again(root, folder, stage, lineage, data, command)
            write_json(folder / PROGRESS, done)
        report(stage.name)
    results = {stage.name: tuple(ReproducedOutput(**{**row, "differing": tuple(row["differing"])}) for row in done[stage.name]["outputs"]) for stage in chosen}
    seconds = {stage.name: done[stage.name]["seconds"] for stage in chosen}
    others = [f"{stage.name} ran on the new {path}, since that of then is no longer stored" for stage in chosen for path in done[stage.name]["other_inputs"]]
    return Reproduction(name, lineage.commit, str(folder), results, seconds, (*_notes(root, folder, chosen), *others))


def forget_workspace(root: Path, reproduction: Reproduction) -> None:
    """Remove the workspace of a reproduction."""
    remove_worktree(root, Path(reproduction.folder))


def _lineage(root: Path, wanted: str) -> tuple[str, Lineage]:
    lineages = KeptLineages(root)
    if wanted in lineages.runs:
        return f"run {wanted}", lineages.kept(lineages.runs[wanted])
    record = find_version(open_registry(root), wanted, model=load_settings(root / "params.yaml").system.model_name)
    lineage = lineages.of(record.tags.get("quarkmed.model_digest", ""), run=record.tags.get("quarkmed.run"))
    if lineage is None:
        raise UserError(f"version {record.version}: no kept run and no dvc.lock holds its model, so it cannot be reproduced")
    return f"version {record.version}", lineage


def _chosen(folder: Path, lineage: Lineage, stages: tuple[str, ...], until: str | None) -> list[LockedStage]:
    locked = {stage.name: stage for stage in lineage.graph.stages}
    names = [name for name in load_graph(folder).names if name in locked]
    for name in (*stages, *([until] if until else ())):
        if name not in names:
            raise UserError(f"its dvc.lock has no stage {name!r}; stages: {', '.join(names)}")
    if until is not None:
        names = names[: names.index(until) + 1]
    return [locked[name] for name in names if not stages or name in stages]


def _refuse_missing(lineage: Lineage, chosen: Sequence[LockedStage], data: LockedData, name: str) -> None:
    """Check that what the chosen stages read, and none of them makes, can be had."""
    made = [item.path for stage in chosen for item in stage.outputs]
    missing = [
        said for stage in chosen for item in stage.inputs
        if not item.is_code and not any(overlaps(path, item.path) for path in made) and (said := data.missing(item)) is not None
    ]  # fmt: skip
    if missing:
        raise UserError(f"{name} cannot be reproduced: {'; '.join(dict.fromkeys(missing))}; `dvc pull` at {lineage.origin} brings what a remote has; what was purged is gone")


def _run_again(root: Path, folder: Path, stage: LockedStage, lineage: Lineage, data: LockedData, command: Sequence[str]) -> dict[str, Any]:
    others = [item.path for item in stage.inputs if not item.is_code and data.missing(item) is not None]
    for item in stage.inputs:
        if not item.is_code and item.path not in others:
            data.put(item)
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(folder), "DO_NOT_TRACK": "1"}
    ended = subprocess.run([*command, stage.name], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise UserError(f"stage {stage.name} failed in {folder} (exit code {ended.returncode}): {(ended.stderr or ended.stdout).strip()[-SHOWN_LETTERS:]}; run again to go on")
    outputs = [_compare(root, folder, item.path, item.md5, lineage) for item in stage.outputs]
    return {"seconds": time.monotonic() - started, "outputs": [asdict(output) for output in outputs], "other_inputs": others}


def _compare(root: Path, folder: Path, path: str, then: str, lineage: Lineage) -> ReproducedOutput:
    now = data_digest(folder / path) or "missing"
    if path.startswith(MODELS):
        reference = parse_reference((folder / path).read_text(encoding="utf-8"))
        before = lineage.models.get(path)
        return ReproducedOutput(path, then, now, before.digest if before else None, reference.digest if reference else None)
    return ReproducedOutput(path, then, now, differing=tuple(_differing(root, folder / path, then)) if now != then and then.endswith(".dir") else ())


def _differing(root: Path, folder: Path, then: str) -> list[str]:
    """Return which files of a folder differ; none where the old listing is nowhere."""
    kept = cached_object(cache_folder(root), then)
    before = read_listing(kept.read_bytes(), then) if kept.is_file() else None
    now = folder_listing(folder) if folder.is_dir() else {}
    return sorted(name for name in {*(before or now), *now} if before is not None and before.get(name) != now.get(name))


def _notes(root: Path, folder: Path, chosen: Iterable[LockedStage]) -> list[str]:
    """Say what, beside the stages, is not as it was."""
    code = {item.path for stage in chosen for item in stage.inputs if item.is_code and data_digest(folder / item.path) != item.md5}
    notes = [f"{path}: the version was made by other code than its commit holds (uncommitted changes)" for path in sorted(code)]
    locks = [path / "requirements.lock" for path in (root, folder)]
    if all(path.is_file() for path in locks) and locks[0].read_bytes() != locks[1].read_bytes():
        notes.append("requirements.lock was another: what is installed here are not the packages of then")
    return notes
