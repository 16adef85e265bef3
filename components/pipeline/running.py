"""Run one stage's function where it stands: build its context, keep its work folder, say how it ended.

    var/work/<stage>/<key>/record.jsonl, files/   what the stage wants seen
    var/work/<stage>/<key>/usage.jsonl           what it used: memory, processor, GPU, energy
    var/work/<stage>/<key>/checkpoints/           progress, gone when the stage has ended
    var/work/<stage>/<key>/finished.json          written last: seconds and the digests of the outputs

Nothing here imports Prefect, MLflow or DVC: `quarkmed stage <name>` runs in a bare pod.
"""

import importlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.errors import DataError, SettingsError, StorageError
from components.observing.stage_watch import watched_stage
from components.pipeline.durations import note_duration
from components.pipeline.graph import StageRow, load_graph
from components.pipeline.outputs import replaced_outputs
from components.pipeline.smaller_passes import smaller_passes, what_was_done
from components.pipeline.stage_key import path_digest, stage_inputs, stage_key
from components.pipeline.withheld_words import withheld_words
from components.recorder import Recorder, read_record
from components.settings.settings import Settings, load_settings
from components.stage import StageContext
from components.storage.artifact_store import ModelReference, read_reference
from components.storage.checkpoints import CheckpointFolder
from components.storage.files import read_json, write_json
from components.storage.store_address import open_store

STAGE_TABLE = "components.pipeline.stages:STAGES"
WORK = "var/work"
FINISHED = "finished.json"
KEPT_WORK_FOLDERS = 3


@dataclass(frozen=True)
class StageRun:
    """How a stage ended."""

    name: str
    key: str
    folder: str
    seconds: float
    is_resumed: bool


def execute_stage(name: str, *, root: str, table: str = STAGE_TABLE, micro_divisor: int = 1) -> dict[str, Any]:
    """Run a stage in this process and return its `StageRun` as a dictionary; the entry point of every launcher.

    Args:
        root: the project's folder.
        table: "module:NAME" of the mapping from stage names to modules.
        micro_divisor: what micro_tokens is divided by (components/pipeline/smaller_passes.py).
    """
    folder = Path(root)
    settings, row = load_settings(folder / "params.yaml"), load_graph(folder).row(name)
    return asdict(run_stage(row, root=folder, settings=settings, function=stage_function(name, table), micro_divisor=micro_divisor))


def run_stage(row: StageRow, *, root: Path, settings: Settings, function: Callable[[StageContext], None], micro_divisor: int = 1) -> StageRun:
    """Run a stage, or take over its outputs where it had ended before an interruption.

    Args:
        settings: as asked for; the key is made of them whatever `micro_divisor` is.
    Raises:
        DataError: an input is missing, or the stage wrote less than it declares.
        QuarkmedError: whatever the stage raises.
    """
    key = stage_key(stage_inputs(root, row, settings))
    done = finished_run(root, row, key)
    if done is not None:
        return done
    folder = work_folder(root, row.name, key)
    started, position = time.monotonic(), _prepare_folder(folder)
    with watched_stage(row.name, folder, sample_seconds=settings.system.sample_seconds) as heard, withheld_words(row):
        context = StageContext(
            name=row.name, root=root, all_settings=smaller_passes(settings, micro_divisor), parameters=row.parameters, inputs=row.inputs, outputs=row.outputs,
            recorder=Recorder(folder, heard=heard), checkpoints=CheckpointFolder(folder / "checkpoints", key=key), store=open_store(root, settings),
        )  # fmt: skip
        with replaced_outputs(root, row), context.checkpoints:
            function(context)
            if micro_divisor > 1:
                context.recorder.warning(what_was_done(micro_divisor))
            outputs = {path: path_digest_of_output(root, row, path) for path in row.outputs}
    is_resumed = _settle_record(folder, position)
    seconds = time.monotonic() - started
    write_json(folder / FINISHED, {"name": row.name, "key": key, "seconds": seconds, "is_resumed": is_resumed, "outputs": outputs})
    context.checkpoints.clear()
    if not is_resumed:
        note_duration(root, row.name, seconds)
    _forget_old_work(folder)
    return StageRun(name=row.name, key=key, folder=str(folder), seconds=seconds, is_resumed=is_resumed)


def finished_run(root: Path, row: StageRow, key: str) -> StageRun | None:
    """Return the run of this key that had ended and whose outputs still stand, or None."""
    folder = work_folder(root, row.name, key)
    try:
        marker = read_json(folder / FINISHED)
        outputs = {path: path_digest(root, path, user=row.name) for path in row.outputs}
        if marker["outputs"] != outputs:
            return None
        return StageRun(name=row.name, key=key, folder=str(folder), seconds=float(marker["seconds"]), is_resumed=True)
    except (StorageError, DataError, KeyError, TypeError):
        return None


def ended_run(root: Path, row: StageRow, key: str) -> StageRun | None:
    """Return how a run of this key ended in another process, as its marker says, where its outputs stand; None where it did not end."""
    done = finished_run(root, row, key)
    return None if done is None else replace(done, is_resumed=bool(read_json(Path(done.folder) / FINISHED)["is_resumed"]))


def stage_function(name: str, table: str = STAGE_TABLE) -> Callable[[StageContext], None]:
    """Import a stage's module and return its `run`."""
    module, attribute = table.split(":")
    stages: Mapping[str, str] = getattr(importlib.import_module(module), attribute)
    if name not in stages:
        raise SettingsError(f"dvc.yaml names stage {name!r}, but {table} has no function for it; stages: {', '.join(stages)}")
    function: Callable[[StageContext], None] = importlib.import_module(stages[name]).run
    return function


def work_folder(root: Path, name: str, key: str) -> Path:
    """Return the work folder of one result of a stage."""
    return root / WORK / name / key[:20]


def model_references(root: Path, row: StageRow) -> dict[str, ModelReference]:
    """Return the model references among a stage's outputs that exist: {path: reference}."""
    paths = [path for path in row.outputs if path.startswith("models/") and (root / path).is_file()]
    return {path: read_reference(root / path) for path in paths}


def model_records(root: Path, row: StageRow, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what is recorded elsewhere of a stage's models: {path: reference with the store's address of the model as "uri"}."""
    store = open_store(root, settings)
    return {path: {**reference.model_dump(), "uri": store.uri(reference)} for path, reference in model_references(root, row).items()}


def path_digest_of_output(root: Path, row: StageRow, path: str) -> str:
    """Return an output's digest.

    Raises:
        DataError: the stage ended without writing it.
    """
    if not (root / path).exists():
        raise DataError(f"stage {row.name} ended without writing {path}, which its row of dvc.yaml declares; mend the row or the stage")
    return path_digest(root, path, user=row.name)


def _prepare_folder(folder: Path) -> int:
    """Keep a folder that holds checkpoints, empty any other; return the length of the record it begins with."""
    has_checkpoints = (folder / "checkpoints").is_dir() and any((folder / "checkpoints").iterdir())
    if not has_checkpoints:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FINISHED).unlink(missing_ok=True)
    return Recorder(folder).position()


def _settle_record(folder: Path, position: int) -> bool:
    """Drop the lines of an interrupted attempt the stage did not go on from; say whether it went on from one."""
    if position == 0:
        return False
    if any(entry["kind"] == "resumed" for entry in read_record(folder)):
        return True
    record = Recorder(folder).path
    kept = record.read_bytes()[position:]
    temporary = record.with_suffix(".part")
    temporary.write_bytes(kept)
    os.replace(temporary, record)
    return False


def _forget_old_work(folder: Path) -> None:
    """Remove the work folders of a stage's older results, but the newest few."""
    others = sorted((item for item in folder.parent.iterdir() if item != folder), key=lambda item: item.stat().st_mtime, reverse=True)
    for item in others[KEPT_WORK_FOLDERS - 1 :]:
        shutil.rmtree(item, ignore_errors=True)
