"""A vLLM server of our own: started in the environment that has vLLM, on loopback, ended with this process.

It is started as a module: in the CPU build the `vllm serve` command looks for a distribution of another name and fails.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil

import components
from components.errors import ServiceError, SettingsError
from components.generation.engine_requests import FREE_SHARE
from components.generation.http_calls import JsonServer
from components.generation.process_tree import GRACE_SECONDS, end_processes
from components.generation.vllm_worker import EXTENSION

if TYPE_CHECKING:
    from components.settings.generation import VllmSettings

HOST = "127.0.0.1"
POLL_SECONDS = 0.5
PR_SET_PDEATHSIG = 1
ENVIRONMENT = {"VLLM_SERVER_DEV_MODE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class ServerProcess:
    """A running server; `server` is where it listens."""

    def __init__(self, command: list[str], *, port: int, log: Path, start_seconds: float) -> None:
        """Start the command and wait until it is healthy.

        Raises:
            ServiceError: the port is taken, or the server ended or did not answer in time.
        """
        self.log = log
        key = secrets.token_urlsafe(24)
        self.server = JsonServer(f"http://{HOST}:{port}", key=key)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **ENVIRONMENT, "VLLM_API_KEY": key, "PYTHONPATH": str(Path(components.__file__).parents[1])}
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip
        self.family = [psutil.Process(self._process.pid)]
        try:
            self._wait(start_seconds)
        except BaseException:
            self.close()
            raise
        self.family += self.family[0].children(recursive=True)

    def refuse_dead(self) -> None:
        """Check that the process lives.

        Raises:
            ServiceError: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            raise ServiceError(f"vLLM server: it has ended (exit code {code}); its log: {self.log}")

    def close(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the server and its engine: SIGTERM, and SIGKILL after the grace."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.family += [process for process in self.family[0].children(recursive=True) if process not in self.family]
        end_processes(self.family, grace_seconds=grace_seconds)
        self._process.wait()

    def _wait(self, seconds: float) -> None:
        end = monotonic() + seconds
        while not self.server.is_healthy():
            self.refuse_dead()
            if monotonic() > end:
                raise ServiceError(f"vLLM server: not healthy within {seconds:g} s; raise vllm.start_seconds, or read its log: {self.log}")
            sleep(POLL_SECONDS)
        self.refuse_dead()


def server_command(
    python: Path, folder: Path, *, port: int, context: int, dtype: str, settings: "VllmSettings", model: str
) -> list[str]:
    """Return the command that serves a model folder with the rules of the native sampler.

    Raises:
        SettingsError: the interpreter does not exist.
    """
    if not python.is_file():
        raise SettingsError(f"vllm.python: {python}: no such file; make the environment with `make vllm-env`, or name another that has vLLM")
    options = {
        "model": folder, "served-model-name": model, "host": HOST, "port": port, "dtype": dtype, "max-model-len": context,
        "max-num-seqs": settings.sequences, "kv-cache-memory-bytes": int(settings.cache_gib * 2**30), "gpu-memory-utilization": FREE_SHARE,
        "logprobs-mode": "processed_logprobs", "generation-config": "vllm", "tensor-parallel-size": settings.workers, "worker-extension-cls": EXTENSION, "seed": 0,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [str(python), "-m", "vllm.entrypoints.openai.api_server", *words, *(["--enforce-eager"] if settings.eager else []), *(["--enable-sleep-mode"] if settings.sleep else [])]


def free_port(asked: int) -> int:
    """Return the port asked for, or a free one for 0.

    Raises:
        ServiceError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, asked))
        except OSError:
            raise ServiceError(f"vllm.port: {asked} is taken; name another, or 0 for a free one") from None
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
