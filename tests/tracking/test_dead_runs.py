"""Runs that stand as running in MLflow: closed where their process is gone, else left alone."""

import socket
from pathlib import Path

from components.registry.process_names import process_name
from components.tracking.dead_runs import PROCESS, close_dead_runs
from components.tracking.replay import end_run, start_run
from components.tracking.tracking_store import experiment_id, open_client

DEAD = f"{socket.gethostname()}:999999999:1.00"


def status(root: Path, mlflow_run: str) -> str:
    return open_client(root).get_run(mlflow_run).info.status


def test_no_database_is_made_for_a_question(tmp_path):
    assert close_dead_runs(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_known_to_be_dead_is_closed_and_each_is_said(root):
    runs = {
        name: start_run(str(root), name, tags={PROCESS: process} if process else {})
        for name, process in {"dead": DEAD, "alive": process_name(), "unnamed": "", "elsewhere": "pod-7:1:1.00", "own": DEAD, "ended": DEAD}.items()
    }
    end_run(str(root), "ended", status="FINISHED", metrics={}, tags={}, files=[])
    client = open_client(root)
    stage = client.create_run(experiment_id(client, root), tags={"mlflow.parentRunId": runs["dead"], "quarkmed.stage": "ift"}).info.run_id
    said = close_dead_runs(str(root), run="own", takes_unnamed=False)
    assert sorted(said) == ["closed run dead in MLflow: its process is gone", "run elsewhere stands as running in MLflow on pod-7, which cannot be looked at from here: left open"]
    assert {name: status(root, run) for name, run in runs.items()} == {
        "dead": "KILLED", "alive": "RUNNING", "unnamed": "RUNNING", "elsewhere": "RUNNING", "own": "RUNNING", "ended": "FINISHED",
    }  # fmt: skip
    assert status(root, stage) == "KILLED"
    assert {f"closed run {name} in MLflow: its process is gone" for name in ("elsewhere", "unnamed")} <= set(close_dead_runs(str(root), run="own", elsewhere=True))
    assert status(root, runs["alive"]) == "RUNNING"


def test_a_run_that_goes_on_in_another_process_is_that_ones(root):
    first = start_run(str(root), "goes on", tags={PROCESS: DEAD})
    assert "closed run goes on in MLflow: its process is gone" in close_dead_runs(str(root)) and status(root, first) == "KILLED"
    assert start_run(str(root), "goes on", tags={PROCESS: process_name()}) == first
    assert not [said for said in close_dead_runs(str(root)) if "goes on" in said] and status(root, first) == "RUNNING"
