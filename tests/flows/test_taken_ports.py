"""A port somebody else holds, through the real command line: said with the key to change, before anything is done."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_in(folder: Path) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def test_retrain_names_the_setting_of_prefects_port(make_project, quarkmed, tmp_path, taken_port):
    project = make_project(tmp_path / "project", system__prefect_port=taken_port)
    done = quarkmed(project, "retrain")
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    assert done.stderr == (
        f"quarkmed: port {taken_port} is taken by another program, so the prefect server cannot start; "
        "stop that program or set system.prefect_port in params.yaml to a free port\n"
    )
    assert not (project / "artifacts").exists() and processes_in(project) == []


def test_up_names_the_setting_of_mlflows_port_and_leaves_no_server(linked_project, set_parameters, quarkmed, taken_port):
    set_parameters(linked_project, system__prefect_port=free_port(), system__mlflow_port=taken_port, system__metrics_port=free_port())
    done = quarkmed(linked_project, "up")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"port {taken_port} is taken by another program" in done.stderr and "set system.mlflow_port" in done.stderr
    assert processes_in(linked_project) == []
