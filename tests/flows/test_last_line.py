"""A run that fails names its cause in the last line it says, and the same stands in its events, its log and `status`."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from components.errors import DataError, OutOfMemory
from components.observing.run_log import read_logs
from components.settings.settings import load_settings
from flows import cli
from flows.run_states import newest_state
from flows.service_catalogue import prefect_service
from flows.services import start_service, stop_service, wait_until_healthy


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("data/x.jsonl:3: no id;\n  add one\n"), 2, "quarkmed: data/x.jsonl:3: no id; add one"),
        (OutOfMemory("memory was exhausted"), 44, "quarkmed: memory was exhausted"),
        (OSError(errno.ENOSPC, "No space left on device", "var/x"), 2, "quarkmed: var/x: cannot be written (No space left on device); free the disk, then run again: it goes on from what was finished"),
        (RuntimeError("shapes differ:\n\n  3 and 4"), 1, "quarkmed: RuntimeError: shapes differ: 3 and 4"),
    ],
)
def test_a_cause_of_several_lines_is_one_line_at_the_end(error, code, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)  # no project here, so no traceback is kept

    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err.splitlines()) == (code, [said])


@pytest.fixture
def project(fake_project: Path):
    """Yield the fake project with a Prefect server that stays up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = yaml.safe_load((fake_project / "params.yaml").read_text())
    values["system"]["prefect_port"] = port
    (fake_project / "params.yaml").write_text(yaml.safe_dump(values))
    server = prefect_service(fake_project, load_settings(fake_project / "params.yaml").system)
    start_service(fake_project, server, is_kept=True)
    wait_until_healthy(fake_project, server)
    yield fake_project
    stop_service(fake_project, server)


def last_line(project: Path, faults: str, *, stop_at: str = "") -> tuple[int, str]:
    """Run `retrain` with faults, told to stop where a stage has begun; return its exit code and the last line it said."""
    (project / "faults.txt").write_text(faults)
    calls = project / "calls.txt"
    calls.unlink(missing_ok=True)
    with (project / "said.txt").open("w") as said:
        process = subprocess.Popen([sys.executable, "retrain.py"], cwd=project, stdout=said, stderr=said, text=True, env={**os.environ, "DO_NOT_TRACK": "1"})
        while stop_at and process.poll() is None and not (calls.is_file() and stop_at in calls.read_text()):
            time.sleep(0.1)
        if stop_at:
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=200)
    return code, (project / "said.txt").read_text().rstrip("\n").splitlines()[-1]


@pytest.mark.slow
@pytest.mark.long
def test_the_last_line_names_the_cause_whatever_it_was(project):
    address = prefect_service(project, load_settings(project / "params.yaml").system).address
    with urllib.request.urlopen(f"{address}/api/metrics", timeout=20) as answer:  # what infra/prometheus scrapes
        assert list(text_string_to_metric_families(answer.read().decode()))
    checked = []
    for faults, stop_at, code, said, outcome in (
        ("sources before error\n", "", 2, "data/notes.txt:1: a bad word; remove it", "failed"),
        ("ift before die\nift middle die\n", "", 1, "the worker process ended without an answer (killed by SIGKILL); often the kernel short of memory", "failed"),
        ("ift before full\n", "", 2, "models/ift.json: cannot be written (No space left on device); free the disk", "failed"),
        ("grpo_general before slow\n", "grpo_general before", 43, "told to stop", "stopped"),
    ):
        found = last_line(project, faults, stop_at=stop_at)
        assert found[0] == code and found[1].startswith(f"quarkmed: {said}"), (found, (project / "said.txt").read_text())
        state = newest_state(project)
        assert (state.outcome, state.is_closed) == (outcome, True) and state.cause.startswith(said[:40])
        logged = [line for line in read_logs(project / "runs" / state.run / "logs") if line["process"] == "flow"][-1]
        assert (logged["event"], logged["run"]) == (f"run {outcome}", state.run) and logged["text"] == state.cause
        checked.append(state.run)
    assert len(set(checked)) == 4
    status = subprocess.run([sys.executable, "-m", "flows.cli", "status"], cwd=project, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert f"newest      {checked[-1]}: stopped in stage grpo_general: told to stop" in status.stdout, status.stdout + status.stderr
