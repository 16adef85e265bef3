"""A real Prefect server and the process that serves deployments: runs triggered through the API with the form's values.

Each works in a worktree of its own, two at once too; the person's files, branches and index stay as they are; a killed one
goes on; a wrong request never reaches a stage.
"""

import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from components.registry.journal import open_journal
from components.settings.settings import load_settings
from components.tracking.tracking_store import experiment_id, open_client
from flows.own_workspaces import workspace_notes
from flows.service_catalogue import deployments_service, prefect_service
from flows.services import start_service, stop_service, wait_until_healthy

pytestmark = [pytest.mark.slow, pytest.mark.long]
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


class Server:
    """Prefect's server and the deployments' process of a project."""

    def __init__(self, project: Path) -> None:
        self.project = project
        settings = load_settings(project / "params.yaml").system
        self.prefect = prefect_service(project, settings)
        self.deployments = deployments_service(project, settings, module="deployments")
        self.api = httpx.Client(base_url=f"{self.prefect.address}/api", timeout=30)

    def start(self) -> None:
        for service in (self.prefect, self.deployments):
            start_service(self.project, service, is_kept=False)
            wait_until_healthy(self.project, service)

    def deployment(self) -> dict[str, Any]:
        return self.api.get("/deployments/name/retrain/retrain").json()

    def trigger(self, **asked: Any) -> httpx.Response:
        return self.api.post(f"/deployments/{self.deployment()['id']}/create_flow_run", json={"parameters": {"request": asked}})

    def run(self, response: httpx.Response) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{response.json()['id']}").json()

    def wait(self, response: httpx.Response, *states: str, seconds: float = 120.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.run(response)
            if found["state_type"] in states:
                return found
            time.sleep(0.3)
        raise AssertionError(f"still {found['state']}; log:\n{(self.project / 'var/services/deployments.log').read_text()[-3000:]}")

    def artifacts(self, run: dict[str, Any]) -> dict[str, Any]:
        body = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        return {item["key"]: item["data"] for item in self.api.post("/artifacts/filter", json=body).json()}

    def log_lines(self, run: dict[str, Any]) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [item["message"] for item in self.api.post("/logs/filter", json=body).json()]


@pytest.fixture(scope="module")
def server(served_fake_project: Path) -> Iterator[Server]:
    project = served_fake_project
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"] |= {"prefect_port": free_port(), "mlflow_port": free_port()}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    commit(project, "ports")
    found = Server(project)
    try:
        found.start()
        yield found
    finally:
        for service in (found.deployments, found.prefect):
            stop_service(project, service)


def commit(project: Path, message: str) -> None:
    git(project, "add", "-A")
    git(project, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)


@pytest.fixture
def unchanged(server: Server) -> Iterator[None]:
    """Check that the person's branch, index and files are after the test what they were before."""
    look: Callable[[], tuple[str, ...]] = lambda: tuple(  # noqa: E731
        git(server.project, *words) for words in (("rev-parse", "HEAD"), ("for-each-ref", "refs/heads"), ("ls-files", "--stage"), ("status", "--porcelain"))
    )
    before = look()
    yield
    assert look() == before
    assert not (server.project / "artifacts").exists() and not (server.project / "dvc.lock").exists()


def test_the_form_has_drop_downs_and_explains_every_field(server):
    schema = server.deployment()["parameter_openapi_schema"]
    fields = schema["definitions"]["RetrainRequest"]["properties"]
    assert fields["profile"]["enum"] == ["laptop", "single-gpu", "tiny"] and "grpo_general" in fields["from_stage"]["enum"]
    assert all(field["description"] and field["title"] for field in fields.values())
    assert [(item["slug"], item["active"]) for item in server.deployment()["schedules"]] == [("nightly", False)]


@pytest.mark.parametrize(
    "asked", [{"profile": "huge"}, {"promote": "maybe"}, {"overrides": ["no value"]}, {"budget_gpu_hours": -1}, {"from_stage": "grpo"}, {"revison": "main"}]
)
def test_a_wrong_value_is_refused_by_the_form(server, asked):
    response = server.trigger(**asked)
    assert response.status_code in (409, 422) and "validat" in response.text.lower(), response.text


def test_a_dry_run_leaves_the_plan_and_nothing_else(server, unchanged):
    done = server.wait(server.trigger(dry_run=True), "COMPLETED", "FAILED", "CRASHED")
    assert done["state_type"] == "COMPLETED", done["state"]
    plan = json.loads(server.artifacts(done)["plan"])
    assert [(row["stage"], row["would"]) for row in plan] == [(name, "run") for name in ("sources", "ift", "grpo_general", "evaluate")]
    assert not (server.project / "var" / "worktrees" / done["name"]).exists() and workspace_notes(server.project) == []


def test_an_unknown_override_fails_before_the_first_stage_with_the_nearest_key(server, unchanged):
    runs = sorted((server.project / "runs").glob("*"))
    done = server.wait(server.trigger(overrides=["ift.stepz=3"]), "FAILED", "COMPLETED", "CRASHED")
    assert done["state_type"] == "FAILED" and "override ift.stepz: unknown key; did you mean ift.steps?" in done["state"]["message"]
    assert sorted((server.project / "runs").glob("*")) == runs and workspace_notes(server.project) == []


def test_two_at_once_run_end_to_end_each_in_its_own_worktree(server, unchanged):
    asked = [server.trigger(overrides=[f"ift.optimiser.learning_rate={rate}"], promote="never") for rate in (0.002, 0.004)]
    done = [server.wait(response, "COMPLETED", "FAILED", "CRASHED") for response in asked]
    assert [run["state_type"] for run in done] == ["COMPLETED", "COMPLETED"], "\n".join(str(run["state"]["message"]) for run in done)
    weights = []
    for run in done:
        told = json.loads((server.project / "runs" / run["name"] / "summary.json").read_text())
        assert [stage["status"] for stage in told["stages"]][1:] == ["ran"] * 3
        reference = git(server.project, "show", f"refs/quarkmed/runs/{run['name']}:models/ift.json")
        folder = server.project / "var" / "store" / json.loads(reference)["key"]
        weights.append(json.loads((folder / "config.json").read_text())["weight"])
        assert git(server.project, "show", f"refs/quarkmed/runs/{run['name']}:dvc.lock")
        assert not (server.project / "var" / "worktrees" / run["name"]).exists()
        pages = server.artifacts(run)
        assert {"plan", "result", "decision", "mlflow-run", "mlflow-version", "stages", "stage-at-work"} == set(pages)
        assert float(pages["stages"]) == 100.0
        lines = server.log_lines(run)
        assert {"ift: ran", "grpo_general: ran"} <= {line.split(",")[0] for line in lines} and any(line.startswith("plan: ") for line in lines), lines
    assert weights == [pytest.approx(10 * rate) for rate in (0.002, 0.004)]  # steps 1 + 2 + 3 + 4, times the rate
    entries = open_journal(server.project).entries("quarkmed")
    assert [entry.kind for entry in entries] == ["HELD", "HELD"] and {entry.version for entry in entries} == {"1", "2"}  # fake models cannot be scored against a champion
    client = open_client(server.project)
    finished = client.search_runs([experiment_id(client, server.project)], filter_string="tags.`quarkmed.stage` = 'ift'")
    assert len(finished) == 2 and {run.info.status for run in finished} == {"FINISHED"}
    assert all(str(server.project / "var" / "mlflow") in run.info.artifact_uri for run in finished)  # not the removed worktree's


def test_a_killed_run_goes_on_in_its_workspace_when_deployments_are_served_again(server, unchanged):
    git(server.project, "checkout", "-q", "-b", "killing")
    (server.project / "faults.txt").write_text("ift middle kill\n")
    commit(server.project, "a stage that kills its run")
    git(server.project, "checkout", "-q", "-")
    asked = server.trigger(revision="killing", overrides=["ift.optimiser.learning_rate=0.005"], promote="auto")
    server.wait(asked, "CRASHED")
    [note] = workspace_notes(server.project)
    assert note.status == "open" and (server.project / "var" / "worktrees" / note.run / "dvc.lock").is_file()
    schedule = server.deployment()["schedules"][0]["id"]
    server.api.patch(f"/deployments/{server.deployment()['id']}/schedules/{schedule}", json={"active": True}).raise_for_status()
    stop_service(server.project, server.deployments)
    server.start()
    assert [(item["slug"], item["active"]) for item in server.deployment()["schedules"]] == [("nightly", True)]  # as the person left it
    done = server.wait(asked, "COMPLETED", "FAILED")
    assert (done["state_type"], done["name"], done["run_count"]) == ("COMPLETED", note.run, 2), done["state"]
    told = json.loads((server.project / "runs" / note.run / "summary.json").read_text())
    assert next(stage["status"] for stage in told["stages"] if stage["name"] == "ift") == "resumed"
    assert told["registry"]["decision"] == "promoted" and workspace_notes(server.project) == []
    git(server.project, "branch", "-qD", "killing")


def test_a_failed_run_and_a_waiting_promotion_are_notified_through_the_named_block(server, monkeypatch):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.events import emit_event
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from rich.console import Console

    from components.errors import SettingsError
    from flows.automations_command import show_automations

    monkeypatch.setenv("PREFECT_API_URL", f"{server.prefect.address}/api")
    (server.project / "infra").mkdir(exist_ok=True)
    (server.project / "infra" / "automations.yaml").write_text((ROOT / "infra" / "automations.yaml").read_text())
    with temporary_settings({PREFECT_API_URL: f"{server.prefect.address}/api"}), Webhook() as heard:
        with pytest.raises(SettingsError, match="no block 'custom-webhook/team'"):
            show_automations(server.project, notify="custom-webhook/team", console=Console(width=160))
        CustomWebhookNotificationBlock(name="team", url=heard.address, json_data={"text": "{{subject}}: {{body}}"}).save("team")
        for word in ("made", "replaced"):
            console = Console(width=160, record=True)
            show_automations(server.project, notify="custom-webhook/team", console=console)
            assert console.export_text().count(word) == 2
        emit_event("quarkmed.promotion.held", resource={"prefect.resource.id": "quarkmed.model.quarkmed", "prefect.resource.name": "quarkmed"}, payload={"version": "7", "run": "r"})
        server.wait(server.trigger(overrides=["ift.stepz=3"]), "FAILED")
        assert heard.wait_for("did you mean ift.steps?") and heard.wait_for("version 7 waits for a decision")
    shutil.rmtree(server.project / "infra")


class Webhook:
    """An HTTP server on loopback that keeps what is posted to it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        texts = self.texts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "Webhook":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def wait_for(self, words: str, seconds: float = 30.0) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(words in text for text in self.texts):
                return True
            time.sleep(0.2)
        raise AssertionError(self.texts)
