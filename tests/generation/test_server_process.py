"""A server process of our own: ready or a clear error, and ended with its children."""

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.errors import ServiceError, SettingsError
from components.generation.server_process import ServerProcess, free_port, server_command
from components.settings.generation import VllmSettings

# A server that says it is healthy, with a child of its own that ignores SIGTERM.
SCRIPT = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"")
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _start(tmp_path, code, *, seconds=20.0):
    port = free_port(0)
    return ServerProcess([sys.executable, "-c", code, str(port)], port=port, log=tmp_path / "logs" / "server.log", start_seconds=seconds)


def test_a_server_is_waited_for_and_ended_with_its_children(tmp_path):
    process = _start(tmp_path, SCRIPT)
    family = [item for item in psutil.Process().children(recursive=True) if item.ppid() != psutil.Process().pid]
    family += [item for item in psutil.Process().children() if "-c" in item.cmdline()]
    assert process.server.is_healthy() and len(family) >= 2
    process.close(grace_seconds=0.5)
    assert not any(item.is_running() and item.status() != psutil.STATUS_ZOMBIE for item in family)
    with pytest.raises(ServiceError, match="has ended"):
        process.refuse_dead()
    process.close()  # twice is harmless


def test_a_server_that_ends_at_once_is_not_waited_for(tmp_path):
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"exit code 3\); its log: .*server\.log"):
        _start(tmp_path, "import sys; print('no such option'); sys.exit(3)", seconds=60)
    assert time.monotonic() - start < 20
    assert "no such option" in (tmp_path / "logs" / "server.log").read_text()


def test_a_server_that_is_never_healthy_is_ended(tmp_path):
    with pytest.raises(ServiceError, match=r"not healthy within 0\.5 s"):
        _start(tmp_path, "import time; time.sleep(60)", seconds=0.5)
    assert not [item for item in psutil.Process().children() if "time.sleep(60)" in " ".join(item.cmdline())]


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceError, match=f"vllm.port: {taken.getsockname()[1]} is taken"):
        free_port(taken.getsockname()[1])


def test_the_command_serves_by_the_native_samplers_rules(tmp_path):
    words = server_command(Path(sys.executable), tmp_path, port=1234, context=64, dtype="float32", settings=VllmSettings(cache_gib=0.5), model="policy")
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert words[1:3] == ["-m", "vllm.entrypoints.openai.api_server"] and words[-1] == "--enforce-eager"
    assert options["--host"] == "127.0.0.1" and options["--logprobs-mode"] == "processed_logprobs"
    assert options["--generation-config"] == "vllm" and options["--kv-cache-memory-bytes"] == str(2**29)
    assert float(options["--gpu-memory-utilization"]) < 0.1  # else no engine starts on a GPU whose memory a trainer has a tenth of
    with pytest.raises(SettingsError, match="make vllm-env"):
        server_command(tmp_path / "python", tmp_path, port=1, context=64, dtype="float32", settings=VllmSettings(), model="policy")
