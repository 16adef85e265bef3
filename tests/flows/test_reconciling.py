"""`quarkmed reconcile`: what kills left open is closed and said; what lives is left alone."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.pipeline.events import RunEvents, read_events
from components.storage.files import write_json
from flows.doctor_checks import check_runs
from flows.reconciling import close_run_folders, reconcile_all
from flows.run_folder import workspace_lock
from tasks.flow_processes import FOLDER, dead_flow_runs, forget_flow_run

ROOT = Path(__file__).parents[2]
DEAD = f"{socket.gethostname()}:999999999:1.00"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder without services: its Prefect port is one on which nothing listens."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    values = yaml.safe_load((tmp_path / "params.yaml").read_text())
    values["system"]["prefect_port"] = 1031
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def test_a_killed_run_is_ended_once_and_doctor_is_content(project):
    RunEvents(project / "runs" / "r1").end("finished")
    RunEvents(project / "runs" / "r2").phase("running")
    assert [finding.is_ok for finding in check_runs(project)] == [False]
    assert reconcile_all(project) == ["ended run r2: it was killed"]
    assert [event.get("outcome") for event in read_events(project / "runs" / "r2")] == [None, "killed"]
    assert [finding.is_ok for finding in check_runs(project)] == [True]
    assert reconcile_all(project) == [] == close_run_folders(project)


def test_while_a_retrain_works_here_its_folder_is_left_alone(project):
    RunEvents(project / "runs" / "r2").phase("running")
    code = f"import sys; from pathlib import Path; from flows.run_folder import workspace_lock\nwith workspace_lock(Path({str(project)!r})): print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout.readline() == "held\n"
    assert reconcile_all(project) == [f"a retrain is at work here (process {holder.pid}): runs that name no process are left alone"]
    holder.communicate("\n")
    assert reconcile_all(project) == ["ended run r2: it was killed"]
    with workspace_lock(project):
        pass  # it let go


def test_dead_flow_runs_wait_for_the_server_and_that_is_said(project):
    write_json(project / FOLDER / "0b9f.json", {"process": DEAD})
    write_json(project / FOLDER / "0b9e.json", {"process": "pod-7:1:1.00"})
    assert dead_flow_runs(project) == ["0b9f"] and dead_flow_runs(project, elsewhere=True) == ["0b9e", "0b9f"]
    assert reconcile_all(project) == ["1 flow runs of Prefect were killed, and its server is down: run `quarkmed up`, then `quarkmed reconcile`"]
    assert dead_flow_runs(project) == ["0b9f"]  # still to be closed
    forget_flow_run(project, "0b9f")
    assert reconcile_all(project) == []
