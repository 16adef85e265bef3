"""Replay a stage's record, and beside it what it used (`system/…`), into a nested MLflow run: once, whatever is killed or repeated.

A stage run is found again by its tag `quarkmed.stage_key`. It counts when its tag `quarkmed.replayed` is set, which is
the last thing written; a run without it is what a kill left behind and is deleted first.
Everything here runs in the tracking process (`components/launch`), off the way of the stages.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import StorageError
from components.observing.usage import SystemPoint, stage_usage, system_points
from components.recorder import read_record
from components.storage.files import read_json, write_json
from components.tracking.addresses import is_made, store_name
from components.tracking.record_reading import MetricPoint, flat_parameters, metric_points, record_span
from components.tracking.tracking_store import experiment_id, open_client, sole_writer

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPLAYED = "replayed.json"
METRICS_A_BATCH = 1000
PARAMETERS_A_BATCH = 100
USED = "quarkmed.used."  # tags of what a stage used
NOT_TOLD = "not told"  # by the machine


@dataclass(frozen=True)
class StageReport:
    """What is known of an ended stage beside its record: how it was made, from what, into what."""

    name: str
    key: str
    folder: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)  # path → DVC digest
    outputs: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # models/<name>.json → its content
    files: tuple[str, ...] = ()  # small outputs shown as artifacts, relative to the root


def start_run(root: str, run: str, *, tags: Mapping[str, str]) -> str:
    """Open (or find again) the parent run of a `retrain` and return its MLflow id."""
    with sole_writer(Path(root)):
        return _start_run(root, run, tags=tags)


def end_run(root: str, run: str, *, status: str, metrics: Mapping[str, float], tags: Mapping[str, str], files: Iterable[str]) -> None:
    """Close the parent run with its final metrics, tags and files (absolute paths)."""
    client = open_client(Path(root))
    mlflow_run = start_run(root, run, tags={})
    _log_metrics(client, mlflow_run, [{"name": name, "value": value, "time": 0, "step": 0} for name, value in metrics.items()])
    for name, value in tags.items():
        client.set_tag(mlflow_run, name, value)
    for path in files:
        if Path(path).is_file():
            client.log_artifact(mlflow_run, path)
    client.set_terminated(mlflow_run, status)


def replay_stage(root: str, run: str, report: Mapping[str, Any]) -> str:
    """Replay an ended stage under the parent run; return its MLflow run id, the old one where it was replayed before."""
    with sole_writer(Path(root)):
        return _replay_once(root, run, StageReport(**report))


def mark_replayed(folder: str, run_id: str, *, store: str) -> None:
    """Note beside the record which run of which MLflow it went to, so that a later `retrain` need not ask."""
    write_json(Path(folder) / REPLAYED, {"mlflow_run": run_id, "store": store})


def is_replayed(root: Path, folder: Path) -> bool:
    """Say whether a work folder's record stands in the MLflow that is named now, without importing MLflow."""
    try:
        return is_made(root) and read_json(folder / REPLAYED).get("store", "local") == store_name(root)
    except StorageError:
        return False


def _start_run(root: str, run: str, *, tags: Mapping[str, str]) -> str:
    client = open_client(Path(root))
    experiment = experiment_id(client, Path(root))
    found = _find(client, experiment, "quarkmed.run", run)
    if found:
        if tags:  # the run goes on, in another process
            _take_over(client, found[0].info.run_id, tags)
        return str(found[0].info.run_id)
    return str(client.create_run(experiment, run_name=run, tags={**tags, "quarkmed.run": run}).info.run_id)


def _replay_once(root: str, run: str, stage: StageReport) -> str:
    client = open_client(Path(root))
    experiment = experiment_id(client, Path(root))
    parent = _start_run(root, run, tags={})
    for found in _find(client, experiment, "quarkmed.stage_key", stage.key):
        if found.data.tags.get("quarkmed.replayed") == "true":
            mark_replayed(stage.folder, found.info.run_id, store=store_name(Path(root)))
            client.set_tag(parent, f"quarkmed.stage.{stage.name}", found.info.run_id)
            return str(found.info.run_id)
        client.delete_run(found.info.run_id)
    run_id = _replay(client, experiment, parent, stage, Path(root))
    client.set_tag(parent, f"quarkmed.stage.{stage.name}", run_id)
    client.set_tag(run_id, "quarkmed.replayed", "true")
    mark_replayed(stage.folder, run_id, store=store_name(Path(root)))
    return run_id


def _replay(client: "MlflowClient", experiment: str, parent: str, stage: StageReport, root: Path) -> str:
    entries = read_record(Path(stage.folder))
    start, end = record_span(entries)
    tags = {"mlflow.parentRunId": parent, "quarkmed.stage_key": stage.key, "quarkmed.stage": stage.name}
    run_id = str(client.create_run(experiment, start_time=start or None, run_name=stage.name, tags=tags).info.run_id)
    _log_parameters(client, run_id, flat_parameters(stage.parameters))
    folder = Path(stage.folder)
    _log_metrics(client, run_id, [*_points(metric_points(entries)), *_points(system_points(folder))])
    if (usage := stage_usage(folder)) is not None:
        for name, value in usage.rounded().items():
            client.set_tag(run_id, f"{USED}{name}", NOT_TOLD if value is None else str(value))
    _log_inputs(client, run_id, stage)
    _log_files(client, run_id, stage, root)
    notes = [entry["text"] for entry in entries if entry["kind"] in ("note", "warning")]
    if notes:
        client.set_tag(run_id, "mlflow.note.content", "\n\n".join(notes)[:4000])
    for path, digest in stage.outputs.items():
        client.set_tag(run_id, f"quarkmed.output.{path}", digest)
    client.set_terminated(run_id, "FINISHED", end_time=end or None)
    return run_id


def _take_over(client: "MlflowClient", mlflow_run: str, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        client.set_tag(mlflow_run, name, value)
    client.update_run(mlflow_run, status="RUNNING")


def _find(client: "MlflowClient", experiment: str, tag: str, value: str) -> list[Any]:
    return list(client.search_runs([experiment], filter_string=f"tags.`{tag}` = '{value}'", max_results=10))


def _points(items: Iterable[MetricPoint | SystemPoint]) -> list[dict[str, Any]]:
    return [{"name": item.name, "value": item.value, "time": item.milliseconds, "step": item.step} for item in items]


def _log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    items = [Param(key, value) for key, value in parameters.items()]
    for start in range(0, len(items), PARAMETERS_A_BATCH):
        client.log_batch(run_id, params=items[start : start + PARAMETERS_A_BATCH])


def _log_metrics(client: "MlflowClient", run_id: str, points: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    items = [Metric(item["name"], item["value"], item["time"], item["step"]) for item in points]
    for start in range(0, len(items), METRICS_A_BATCH):
        client.log_batch(run_id, metrics=items[start : start + METRICS_A_BATCH])


def _log_inputs(client: "MlflowClient", run_id: str, stage: StageReport) -> None:
    """Log each input as a data set whose digest is DVC's."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    sets = [(path, digest) for path, digest in stage.inputs.items() if not path.startswith(("components/", "models/"))]
    inputs = []
    for path, digest in sets:
        data = MetaDataset(CodeDatasetSource(tags={"path": path, "dvc": digest}), name=path, digest=digest[:36])
        inputs.append(DatasetInput(dataset=data._to_mlflow_entity(), tags=[InputTag("mlflow.data.context", stage.name)]))
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def _log_files(client: "MlflowClient", run_id: str, stage: StageReport, root: Path) -> None:
    files = Path(stage.folder) / "files"
    if files.is_dir():
        client.log_artifacts(run_id, str(files))
    for path in stage.files:
        if (root / path).is_file():
            client.log_artifact(run_id, str(root / path), "outputs")
    for path, reference in stage.models.items():
        client.log_text(run_id, json.dumps(reference, indent=1, sort_keys=True) + "\n", f"models/{Path(path).stem}/model.json")
