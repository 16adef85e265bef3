"""Local services: started once, healthy before use, only our own stopped, ports taken said clearly."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from components.errors import ServiceError
from components.storage.files import write_json
from flows.service_commands import all_services, bring_down, service_word
from flows.services import Service, is_healthy, running, start_service, stop_service, wait_until_healthy

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404); self.end_headers()
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Service("toy", port, (sys.executable, "-c", SERVER, str(port)), {}, "/health", "system.toy_port")


def test_a_service_is_started_once_and_stopped_for_good(tmp_path, service):
    assert start_service(tmp_path, service, is_kept=True)
    wait_until_healthy(tmp_path, service)
    assert not start_service(tmp_path, service, is_kept=True)
    pid = running(tmp_path, service).pid
    assert stop_service(tmp_path, service)
    assert not psutil.pid_exists(pid) and not is_healthy(service)
    assert not stop_service(tmp_path, service)


def test_a_port_taken_by_another_program_is_said_with_the_key_to_change(tmp_path, service):
    with socket.socket() as other:
        other.bind(("127.0.0.1", service.port))
        other.listen()
        with pytest.raises(ServiceError, match=rf"port {service.port} is taken by another program.*system\.toy_port"):
            start_service(tmp_path, service, is_kept=True)
    assert running(tmp_path, service) is None


def test_a_recycled_process_id_is_not_taken_for_ours(tmp_path, service):
    write_json(tmp_path / "var" / "services" / "toy.json", {"pid": os.getpid(), "started": 1.0, "is_kept": True})
    assert running(tmp_path, service) is None
    assert not stop_service(tmp_path, service)  # this very process goes on


def test_a_server_that_ends_while_starting_is_named_with_its_last_words(tmp_path, service):
    broken = Service("toy", service.port, (sys.executable, "-c", "raise SystemExit('no such database')"), {}, "/health", "x")
    start_service(tmp_path, broken, is_kept=True)
    with pytest.raises(ServiceError, match="ended while starting: no such database"):
        wait_until_healthy(tmp_path, broken)


def test_a_server_for_one_run_dies_with_the_killed_run(tmp_path, service):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom flows.services import *\n"
        f"start_service(Path({str(tmp_path)!r}), Service('toy', {service.port}, {service.command!r}, {{}}, '/health', 'x'), is_kept=False)\n"
        "print('started', flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout.readline() == "started\n"
    wait_until_healthy(tmp_path, service)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while running(tmp_path, service) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running(tmp_path, service) is None


def test_a_process_started_before_an_upgrade_is_named_with_what_to_do(tmp_path, service):
    old, new = replace(service, version="3.8.7"), replace(service, version="3.8.8")
    start_service(tmp_path, old, is_kept=True)
    wait_until_healthy(tmp_path, old)
    pid = running(tmp_path, old).pid
    with pytest.raises(ServiceError, match=rf"runs as version 3\.8\.7 \(process {pid}\), but 3\.8\.8 is here now; run `quarkmed down`"):
        start_service(tmp_path, new, is_kept=True)
    assert "up as version 3.8.7" in service_word(tmp_path, new) and "up at http" in service_word(tmp_path, old)
    assert stop_service(tmp_path, new)  # whatever its version, it is ours


def test_a_service_without_a_port_is_well_as_long_as_it_touches_its_file(tmp_path):
    beat = tmp_path / "beat"
    silent = Service("toy", 0, (sys.executable, "-c", "import time; time.sleep(60)"), {}, str(beat), "")
    start_service(tmp_path, silent, is_kept=True)
    assert not is_healthy(silent) and "does not answer: `quarkmed down`" in service_word(tmp_path, silent)
    beat.touch()
    assert is_healthy(silent) and service_word(tmp_path, silent) == "up"
    os.utime(beat, (time.time() - 60, time.time() - 60))
    assert not is_healthy(silent)
    assert stop_service(tmp_path, silent)


def test_what_a_setting_leaves_out_is_not_started_and_still_stopped_where_it_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    assert [item.name for item in all_services(tmp_path)] == ["prefect", "mlflow", "metrics", "deployments"]
    start_service(tmp_path, Service("metrics", 0, (sys.executable, "-c", "import time; time.sleep(60)"), {}, "", ""), is_kept=True)
    (tmp_path / "params.yaml").write_text((tmp_path / "params.yaml").read_text().replace("metrics_port: 9217", "metrics_port: 0"))
    assert [item.name for item in all_services(tmp_path)] == ["prefect", "mlflow", "deployments"]
    words = ["deployments was not running", "metrics     stopped", "mlflow      was not running", "prefect     was not running"]
    bring_down(tmp_path)
    assert capsys.readouterr().out.splitlines() == words
    bring_down(tmp_path)
    assert capsys.readouterr().out.splitlines() == [word for word in words if not word.startswith("metrics")]


RUNNER = """
import pathlib, signal, subprocess, sys, time
run = "import pathlib, signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), pathlib.Path('saved').touch(), sys.exit())); pathlib.Path('at-work').touch(); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", run])
signal.signal(15, lambda *_: (child.kill(), sys.exit()))
time.sleep(60)
"""


def test_runs_save_before_the_process_that_started_them_is_stopped(tmp_path):
    service = Service("toy", 0, (sys.executable, "-c", RUNNER), {}, str(tmp_path / "beat"), "", run_seconds=10.0)
    start_service(tmp_path, service, is_kept=True)
    deadline = time.monotonic() + 10
    while not (tmp_path / "at-work").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stop_service(tmp_path, service)
    assert (tmp_path / "saved").exists()
