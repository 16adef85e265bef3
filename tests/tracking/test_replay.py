"""Replaying records into MLflow: everything once, with the stage's own time stamps."""

import json
from pathlib import Path

from components.recorder import Recorder
from components.tracking.record_reading import flat_parameters, metric_points
from components.tracking.replay import end_run, is_replayed, replay_stage, start_run
from components.tracking.tracking_store import experiment_id, open_client
from components.tracking.unreplayed import unreplayed_reports


def write_record(folder: Path) -> None:
    recorder = Recorder(folder, now=iter(range(1000, 2000)).__next__)
    for step in range(3):
        recorder.metrics({"loss": 1.0 / (step + 1)}, step=step)
    recorder.table("completions", [{"id": "a", "score": 1}])
    recorder.summary({"loss": 0.25})
    recorder.note("a sentence")


def test_a_step_noted_twice_counts_once_with_its_last_value():
    entries = [
        {"time": 1.0, "kind": "metrics", "step": 1, "values": {"loss": 2.0}},
        {"time": 2.0, "kind": "metrics", "step": 1, "values": {"loss": 1.5}},
        {"time": 3.0, "kind": "progress", "done": 1, "total": 2, "shown": {}},
        {"time": 4.0, "kind": "summary", "values": {"a,b": 3.0}},
    ]
    assert [(p.name, p.value, p.milliseconds, p.step) for p in metric_points(entries)] == [("loss", 1.5, 2000, 1), ("summary.a_b", 3.0, 4000, 0)]


def test_parameters_are_flattened_to_dotted_keys():
    assert flat_parameters({"ift": {"optimiser": {"betas": [1, 2]}, "steps": 3}}) == {"ift.optimiser.betas": "[1, 2]", "ift.steps": "3"}


def write_samples(folder: Path) -> None:
    """Two samples of what the stage used: 7,200 J are 2 Wh."""
    for seconds, cpu, joules in ((1000.0, 0.0, 0.0), (1005.0, 4.0, 7200.0)):
        line = {
            "time": seconds, "attempt": "a", "seconds": seconds - 1000, "cpu_seconds": cpu, "cpu_percent": None, "memory_bytes": 2 << 20, "peak_bytes": 3 << 20,
            "machine_cpu_percent": 50.0, "machine_memory_percent": 10.0, "joules": joules, "gpus": [],
        }  # fmt: skip
        with (folder / "usage.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def report(root: Path, name: str, key: str) -> dict:
    folder = root / "var" / "work" / name / key
    write_record(folder)
    write_samples(folder)
    return {
        "name": name, "key": key, "folder": str(folder), "parameters": {name: {"steps": 3}}, "inputs": {"data/x": "ab12.dir"},
        "outputs": {"models/ift.json": "cd34"}, "models": {"models/ift.json": {"key": "models/77", "digest": "77"}},
    }  # fmt: skip


def test_a_replayed_stage_holds_all_of_its_record_and_is_never_doubled(root):
    client, given = open_client(root), report(root, "ift", "key-1")
    parent = start_run(str(root), "run-1", tags={"quarkmed.profile": "laptop"})
    assert start_run(str(root), "run-1", tags={}) == parent
    assert not is_replayed(root, Path(given["folder"]))
    first = replay_stage(str(root), "run-1", given)
    assert replay_stage(str(root), "run-2", given) == first
    assert is_replayed(root, Path(given["folder"]))
    run = client.get_run(first)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.params == {"ift.steps": "3"}
    history = client.get_metric_history(first, "loss")
    assert [(item.step, item.value, item.timestamp) for item in history] == [(0, 1.0, 1000_000), (1, 0.5, 1001_000), (2, 1 / 3, 1002_000)]
    assert (run.info.start_time, run.info.end_time) == (1000_000, 1005_000)
    memory = client.get_metric_history(first, "system/process_memory_megabytes")
    assert [(item.step, item.value, item.timestamp) for item in memory] == [(0, 2.0, 1000_000), (1, 2.0, 1005_000)]
    used = {name: value for name, value in run.data.tags.items() if name.startswith("quarkmed.used.")}
    assert used == {
        "quarkmed.used.cpu_seconds": "4.0", "quarkmed.used.peak_bytes": str(3 << 20), "quarkmed.used.gpu_peak_bytes": "not told", "quarkmed.used.watt_hours": "2.0",
    }  # fmt: skip
    assert [(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs] == [("data/x", "ab12.dir")]
    assert sorted(item.path for item in client.list_artifacts(first)) == ["models", "tables"]
    found = client.search_runs([experiment_id(client, root)], filter_string="tags.`quarkmed.stage_key` = 'key-1'")
    assert len(found) == 1
    other_parent = client.get_run(start_run(str(root), "run-2", tags={}))
    assert other_parent.data.tags["quarkmed.stage.ift"] == first  # the second run links to it


def test_what_a_kill_left_half_replayed_is_replaced(root):
    client = open_client(root)
    half = client.create_run(experiment_id(client, root), tags={"quarkmed.stage_key": "key-2"}).info.run_id
    client.log_metric(half, "loss", 9.0, step=0)
    whole = replay_stage(str(root), "run-1", report(root, "sft", "key-2"))
    found = client.search_runs([experiment_id(client, root)], filter_string="tags.`quarkmed.stage_key` = 'key-2'")
    assert [run.info.run_id for run in found] == [whole] and whole != half


def test_reports_left_by_a_killed_run_are_found_until_they_are_replayed(root):
    import json

    given = report(root, "answers", "key-3")
    (Path(given["folder"]) / "report.json").write_text(json.dumps(given))
    assert [item["key"] for item in unreplayed_reports(root)] == ["key-3"]
    replay_stage(str(root), "run-1", given)
    assert unreplayed_reports(root) == []


def test_the_parent_run_is_closed_with_its_tags_and_files(root):
    (root / "card.md").write_text("# card")
    end_run(str(root), "run-1", status="FINISHED", metrics={"verified": 0.5}, tags={"quarkmed.decision": "promoted"}, files=[str(root / "card.md")])
    client = open_client(root)
    run = client.get_run(start_run(str(root), "run-1", tags={}))
    assert (run.info.status, run.data.metrics["verified"], run.data.tags["quarkmed.decision"]) == ("FINISHED", 0.5, "promoted")
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["card.md"]
