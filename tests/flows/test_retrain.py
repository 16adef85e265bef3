"""The whole command over quick stages: a real Prefect server, MLflow, the journal, git; then what kills and repeats do."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from components.registry.decision import settled_decision
from components.tracking.dead_runs import PROCESS
from components.tracking.replay import start_run
from components.tracking.tracking_store import experiment_id, open_client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def project(fake_project: Path) -> Path:
    set_parameter(fake_project, "system", "prefect_port", free_port())
    return fake_project


def set_parameter(project: Path, section: str, key: str, value: object) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values[section][key] = value
    (project / "params.yaml").write_text(yaml.safe_dump(values))


def retrain(project: Path, **arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "retrain.py"], cwd=project, capture_output=True, text=True, timeout=300, **arguments)


def summary(project: Path) -> dict:
    return json.loads((project / "runs" / "latest" / "summary.json").read_text())


def git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout.strip()


def test_raw_data_to_a_promoted_model_and_then_nothing_to_do(project):
    branch, index = git(project, "rev-parse", "HEAD"), git(project, "status", "--porcelain")
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    told = summary(project)
    assert [(stage["name"], stage["status"], stage["reason"]) for stage in told["stages"]] == [
        (name, "ran", "never ran") for name in ("sources", "ift", "grpo_general", "evaluate")
    ]
    assert (told["registry"]["decision"], told["registry"]["alias"], told["registry"]["version"]) == ("promoted", "champion", "1")
    assert told["git_sha"] == branch and told["profile"] == "laptop"
    assert told["wall_seconds"] >= told["overhead_seconds"] > 0
    assert set(told["data"]) >= {"artifacts/sources", "models/ift.json"}
    assert told["used"]["peak_bytes"] > 1 << 20 and all(stage["used"]["cpu_seconds"] >= 0 for stage in told["stages"])
    logged = [json.loads(line) for line in (project / "runs" / told["run"] / "logs" / "stages.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in logged if line["event"] == "stage ended"] == ["sources", "ift", "grpo_general", "evaluate"]
    assert "version 1 is the champion now" in done.stdout and "superior" in done.stdout
    # The run's lock file and references are kept outside every branch, and the person's index is untouched.
    kept = git(project, "show", f"refs/quarkmed/runs/{told['run']}:models/ift.json")
    assert kept == (project / "models" / "ift.json").read_text().strip()
    assert git(project, "rev-parse", "HEAD") == branch
    assert [line for line in git(project, "status", "--porcelain").splitlines() if line not in index.splitlines()] == ["?? calls.txt", "?? dvc.lock"]
    check_tracking(project)
    assert not [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(project)]  # no server, no worker stays

    started = time.monotonic()
    again = retrain(project)
    assert again.returncode == 0 and time.monotonic() - started < 20
    assert again.stdout.startswith("Nothing to do") and "quarkmed version 1 was promoted" in again.stdout
    assert summary(project)["run"] == told["run"]


def check_tracking(project: Path) -> None:
    client = open_client(project)
    runs = client.search_runs([experiment_id(client, project)])
    names = sorted(run.info.run_name for run in runs if "quarkmed.stage" in run.data.tags)
    assert names == ["evaluate", "grpo_general", "ift", "sources"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    version = client.get_model_version_by_alias("quarkmed", "champion")
    assert version.tags["quarkmed.git_sha"] == git(project, "rev-parse", "HEAD")
    reference = json.loads((project / "models" / "grpo_general.json").read_text())
    source = Path(version.source.removeprefix("file://"))
    stored = (project / "var" / "store" / reference["key"]).resolve().as_uri()
    assert json.loads((source / "model.json").read_text()) == {**reference, "uri": stored}
    assert "## Gate (against base)" in version.description


@pytest.mark.slow
def test_killed_or_stopped_the_run_goes_on_and_nothing_is_counted_twice(project):
    (project / "faults.txt").write_text("ift middle kill\ngrpo_general before slow\n")
    assert retrain(project).returncode == -9
    process = subprocess.Popen([sys.executable, "retrain.py"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: "grpo_general before" in (project / "calls.txt").read_text())
    refused = retrain(project)
    assert refused.returncode == 2 and f"(process {process.pid}) works in" in refused.stderr
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 43 and "Traceback" not in said and "told to stop" in said
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [stage["status"] for stage in summary(project)["stages"]] == ["skipped", "skipped", "ran", "ran"]
    check_tracking(project)
    client = open_client(project)
    ift = next(run for run in client.search_runs([experiment_id(client, project)]) if run.info.run_name == "ift")
    assert [item.step for item in client.get_metric_history(ift.info.run_id, "loss")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_an_unfinished_promotion_is_finished_by_the_next_run_and_a_run_left_open_is_closed(project):
    assert retrain(project).returncode == 0
    left = start_run(str(project), "left open", tags={PROCESS: f"{socket.gethostname()}:999999999:1.00"})
    from components.registry.journal import TABLE, open_journal

    journal = open_journal(project)
    with journal._engine.begin() as connection:  # as if killed before COMMITTED was written
        connection.execute(TABLE.delete().where(TABLE.c.kind == "COMMITTED"))
    assert settled_decision(project) is None
    done = retrain(project)
    assert done.returncode == 0 and "finished promotion 1: version 1 of quarkmed is champion" in done.stdout
    assert "closed run left open in MLflow: its process is gone" in done.stdout and open_client(project).get_run(left).info.status == "KILLED"
    assert [entry.kind for entry in open_journal(project).entries("quarkmed")] == ["PREPARED", "COMMITTED"]


@pytest.mark.slow
def test_the_champions_own_bytes_are_neither_promoted_nor_refused_again(project):
    assert retrain(project).returncode == 0
    set_parameter(project, "gate", "format_floor", 1.0)  # a decision is due again
    done = retrain(project)
    assert done.returncode == 0, done.stderr
    assert (summary(project)["registry"]["decision"], summary(project)["registry"]["alias"]) == ("unchanged", "champion")
    assert [stage["status"] for stage in summary(project)["stages"]] == ["skipped"] * 4


def wait_for(condition, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("waited in vain")
