"""What Prometheus is told: the page over a project's files, scraped over HTTP and read by Prometheus' own parser."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from components.errors import ServiceError
from components.pipeline.durations import note_duration
from components.pipeline.events import RunEvents
from components.registry.journal import Entry, open_journal
from components.settings.settings import load_settings
from components.storage.files import write_json
from flows.metrics_command import metrics
from flows.metrics_page import held, project_registry
from flows.service_catalogue import metrics_service
from flows.service_commands import service_word
from flows.services import running, start_service, stop_service, wait_until_healthy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of three runs; version 1 is champion, version 2 waits for a person."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name, outcome in (("20260101-000000-aaaa", "finished"), ("20260102-000000-bbbb", "failed")):
        RunEvents(tmp_path / "runs" / name).end(outcome, cause="")
    killed = RunEvents(tmp_path / "runs" / "20260103-000000-cccc")
    killed.stage("ift", "running", reason="never ran")
    killed.path.write_text(killed.path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {2**30}'))  # of no process
    used = {"cpu_seconds": 12.5, "peak_bytes": 3000, "gpu_peak_bytes": None, "watt_hours": None}
    write_json(tmp_path / "runs" / "20260101-000000-aaaa" / "summary.json", {"stages": [{"name": "ift", "used": used}, {"name": "sft", "used": None}]})
    note_duration(tmp_path, "ift", 7.5)
    journal = open_journal(tmp_path)
    prepared = journal.prepare(entry("1"), expected_champion=None)
    journal.close(prepared, "COMMITTED")
    journal.note(entry("2", kind="HELD", action="hold"))
    return tmp_path


def entry(version: str, *, kind: str = "PREPARED", action: str = "promote", sequence: int = 0) -> Entry:
    return Entry(model="quarkmed", version=version, kind=kind, action=action, decision_key=version, who="ann", sequence=sequence)


def samples(text: str) -> dict[tuple[str, ...], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type == "gauge"
        found |= {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}
    return found


def check(told: dict[tuple[str, ...], float]) -> None:
    assert {key[1]: value for key, value in told.items() if key[0] == "quarkmed_runs"} == {"at_work": 0, "finished": 1, "failed": 1, "stopped": 0, "killed": 1}
    assert told["quarkmed_last_run_failed",] == 1
    assert told["quarkmed_last_success_timestamp_seconds",] <= told["quarkmed_last_run_timestamp_seconds",]
    assert told["quarkmed_stage_seconds", "ift"] == 7.5 and told["quarkmed_stage_cpu_seconds", "ift"] == 12.5
    assert told["quarkmed_stage_peak_memory_bytes", "ift"] == 3000 and ("quarkmed_stage_watt_hours", "ift") not in told
    assert told["quarkmed_champion_version", "quarkmed"] == 1
    assert told["quarkmed_open_promotions", "held"] == 1 and told["quarkmed_open_promotions", "prepared"] == 0
    assert told["quarkmed_open_promotion_timestamp_seconds", "held"] >= told["quarkmed_last_promotion_timestamp_seconds",]
    assert 0 < told["quarkmed_disk_free_bytes",] < told["quarkmed_disk_size_bytes",]
    assert told["quarkmed_log_bytes",] > 0 and told["quarkmed_unreadable_parts",] == 0


def test_the_page_is_scraped_over_http_and_told_to_stop_the_server_ends_well(project):
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "metrics", "--port", "0"], cwd=project, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        address = server.stdout.readline().split()[-1]
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            check(samples(answer.read().decode()))
        with urllib.request.urlopen(address.removesuffix("/metrics") + "/health", timeout=10) as answer:
            assert answer.read() == b"ok\n"  # and not the page
        assert address.startswith("http://127.0.0.1:")
        server.terminate()
        assert server.wait(timeout=10) == 0
    finally:
        server.kill()
        server.wait()


def test_what_cannot_be_read_is_left_out_and_counted(project):
    (project / "params.yaml").write_text("system: [")
    told = samples(page(project))
    assert told["quarkmed_unreadable_parts",] == 1 and ("quarkmed_champion_version", "quarkmed") not in told
    assert told["quarkmed_last_run_failed",] == 1


def test_a_project_without_runs_has_a_page(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    told = samples(page(tmp_path))
    assert told["quarkmed_runs", "finished"] == 0 and ("quarkmed_last_success_timestamp_seconds",) not in told and told["quarkmed_unreadable_parts",] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]  # looking leaves nothing behind: in a container the folder is read-only


def test_the_service_is_well_by_its_own_word_and_its_port_is_not_taken_by_hand(project, free_port, monkeypatch):
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["system"]["metrics_port"] = port = free_port()
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    service = metrics_service(project, load_settings(project / "params.yaml").system)
    start_service(project, service, is_kept=True)
    try:
        wait_until_healthy(project, service)
        assert service_word(project, service) == f"up at http://127.0.0.1:{port}"
        with pytest.raises(ServiceError, match=rf"port {port}: the project's own metrics service \(process {running(project, service).pid}\).*127\.0\.0\.1:{port}/metrics"):
            metrics(project, host="127.0.0.1", port=None, once=False)
    finally:
        assert stop_service(project, service)


def test_a_port_that_another_program_holds_is_said(project):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:\d+ cannot be listened on \(Address already in use\).*--port"):
            metrics(project, host="127.0.0.1", port=other.getsockname()[1], once=False)


def page(project: Path) -> str:
    from prometheus_client import generate_latest

    return generate_latest(project_registry(project)).decode()


def test_a_held_version_waits_until_it_or_another_is_decided_on():
    waits = entry("2", kind="HELD", action="hold", sequence=3)
    assert held([waits]) == [waits]
    for later in (entry("2", kind="REFUSED", sequence=4), entry("3", kind="COMMITTED", sequence=4)):
        assert held([waits, later]) == []
    assert held([entry("2", kind="HELD", action="unchanged", sequence=3)]) == []
