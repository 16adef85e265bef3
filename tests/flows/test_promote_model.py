"""Approval for real: a Prefect server and a worker, both killed and started again while a person has not answered yet."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.registry.journal import open_journal
from components.settings.settings import load_settings
from components.storage.files import read_json, write_json
from components.tracking.tracking_store import open_client
from flows.service_catalogue import prefect_environment, prefect_service
from flows.services import start_service, stop_service, wait_until_healthy
from tasks.flow_processes import FOLDER

POOL = "approvals"
MODEL = "quarkmed"
pytestmark = [pytest.mark.slow, pytest.mark.long]


class Desk:
    """A project whose candidate is held back, with a server and a worker that can be killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.service = prefect_service(root, load_settings(root / "params.yaml").system)
        self.environment = {**os.environ, **prefect_environment(root, self.service.port), "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1"}
        self.worker: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        start_service(self.root, self.service, is_kept=True)
        wait_until_healthy(self.root, self.service)

    def work(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        with (self.root / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=log, stderr=log)

    def kill_both(self) -> None:
        if self.worker is not None:
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait()
            self.worker = None
        stop_service(self.root, self.service)

    def deploy(self) -> str:
        """Make the pool and the deployment, ask for version 1, and return the flow run's id."""
        code = DEPLOY.replace("FOLDER", repr(str(self.root)))
        done = subprocess.run([sys.executable, "-c", code], cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split()[-1]

    def call(self, path: str, body: Any = None) -> Any:
        """Ask the server's API: GET, or POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.service.address}/api/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def state(self, flow_run: str) -> str:
        return str(self.call(f"flow_runs/{flow_run}")["state"]["name"])

    def resume(self, flow_run: str, **answer: str) -> str:
        return str(self.call(f"flow_runs/{flow_run}/resume", {"run_input": answer})["status"])

    def wait_for(self, flow_run: str, name: str, seconds: float = 120.0) -> None:
        deadline, found = time.monotonic() + seconds, ""
        while time.monotonic() < deadline and found not in (name, "Failed", "Crashed", "Completed"):
            time.sleep(0.5)
            found = self.state(flow_run)
        assert found == name, f"{found}\n{(self.root / 'worker.log').read_text()[-3000:]}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def desk(fake_project: Path) -> Iterator[Desk]:
    values = yaml.safe_load((fake_project / "params.yaml").read_text())
    values["system"] |= {"prefect_port": free_port(), "promote": "never"}
    (fake_project / "params.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run([sys.executable, "retrain.py"], cwd=fake_project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    desk = Desk(fake_project)
    yield desk
    desk.kill_both()


DEPLOY = f"""
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import EntrypointType
from flows.promote_model import promote_model
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name={POOL!r}, type="process"))
    deployment = promote_model.to_deployment(
        name="promote_model", work_pool_name={POOL!r}, entrypoint_type=EntrypointType.MODULE_PATH, job_variables={{"working_dir": FOLDER}}
    )
    print(client.create_flow_run_from_deployment(deployment.apply(), parameters={{"version": "1"}}).id)
"""


def test_a_person_answers_after_server_and_worker_were_killed_and_the_journal_keeps_who_and_why(desk):
    assert [entry.kind for entry in open_journal(desk.root).entries(MODEL)] == ["HELD"]
    desk.open()
    flow_run = desk.deploy()
    desk.work()
    desk.wait_for(flow_run, "Suspended")
    shown = read_json(desk.root / "var" / "approvals" / f"{flow_run}.json")
    assert (shown["version"], shown["champion"]) == ("1", None)
    desk.kill_both()

    desk.open()
    assert desk.state(flow_run) == "Suspended"
    assert open_journal(desk.root).champion(MODEL) is None
    description = desk.call(f"flow_runs/{flow_run}/input/suspended-promotion-description")
    assert "quarkmed version 1 against base" in description and "| leakage | yes | 0.000 |" in description
    assert desk.resume(flow_run, decision="promote", who="Ruth Adler", why=" ") == "REJECT"
    assert desk.state(flow_run) == "Suspended"
    desk.work()
    assert desk.resume(flow_run, decision="promote", who="Ruth Adler", why="reviewed by the board") == "ACCEPT"
    desk.wait_for(flow_run, "Completed")
    last = open_journal(desk.root).entries(MODEL)[-1]
    assert (last.kind, last.who, last.details["why"], last.details["asked_in"]) == ("COMMITTED", "Ruth Adler", "reviewed by the board", flow_run)
    version = open_client(desk.root).get_model_version_by_alias(MODEL, "champion")
    assert version.version in (1, "1") and "promoted by Ruth Adler: reviewed by the board" in version.description
    assert not list((desk.root / FOLDER).glob("*.json"))  # nobody claims to be at work

    check_a_dead_flow_run_is_closed(desk)


def check_a_dead_flow_run_is_closed(desk: Desk) -> None:
    """A flow run that claims to be running while its process is gone is Crashed after `quarkmed reconcile`."""
    flow = desk.call("flows/", {"name": "promote_model"})["id"]
    running = desk.call("flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING", "name": "Running"}})["id"]
    write_json(desk.root / FOLDER / f"{running}.json", {"process": f"{socket.gethostname()}:999999999:1.00"})
    quarkmed = [sys.executable, "-m", "flows.cli", "reconcile"]
    environment = {name: value for name, value in desk.environment.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(quarkmed, cwd=desk.root, env=environment, capture_output=True, text=True, timeout=120)
    assert f"closed flow run {running} in Prefect: its process is gone" in done.stdout, done.stdout + done.stderr
    assert desk.state(running) == "Crashed"
    again = subprocess.run(quarkmed, cwd=desk.root, env=environment, capture_output=True, text=True, timeout=120)
    assert again.stdout.strip() == "- nothing was open"
