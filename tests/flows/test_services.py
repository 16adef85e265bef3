"""Local services: started once, healthy before use, only our own stopped, ports taken said clearly."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.errors import ServiceError
from components.storage.files import write_json
from flows.services import Service, is_healthy, running, start_service, stop_service, wait_until_healthy

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
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    assert parent.stdout.readline() == "started\n"
    wait_until_healthy(tmp_path, service)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while running(tmp_path, service) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running(tmp_path, service) is None
