"""How a local service's process is started once, asked whether it is well, and stopped; what each service is, `flows.service_catalogue` says.

`var/services/<name>.json` says which process was started, with its start time, so that a recycled process id is never
taken for ours, and with which version. A server started for one run only dies with it (the kernel tells it), even when the
run is killed.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from components.errors import ServiceError, StorageError
from components.storage.files import read_json, write_json

FOLDER = "var/services"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
SILENT_SECONDS = 30.0  # without a sign of life
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Service:
    """How a service is started and asked after."""

    name: str
    port: int  # 0: it listens nowhere
    command: tuple[str, ...]
    environment: dict[str, str]
    health_path: str  # asked over HTTP; without a port a file that the process touches while it is well
    setting: str
    version: str = ""  # of what runs; another one must be stopped first
    run_seconds: float = 0.0  # what the processes it started for runs may take to save and end

    @property
    def address(self) -> str:
        """Where a browser finds it; empty where it listens nowhere."""
        return f"http://127.0.0.1:{self.port}" if self.port else ""


@dataclass(frozen=True)
class Running:
    """A service's process as it was noted."""

    pid: int
    started: float
    is_kept: bool
    version: str = ""


def start_service(root: Path, service: Service, *, is_kept: bool) -> bool:
    """Start a service where it is not up; return whether this call started it. `wait_until_healthy` comes next.

    Args:
        is_kept: it stays up after this process (`quarkmed up`).
    Raises:
        ServiceError: somebody else's process holds the port, or what runs is another version.
    """
    found = running(root, service)
    if found is not None:
        refuse_other_version(service, found)
        return False
    if service.port and is_port_taken(service.port):
        raise ServiceError(
            f"port {service.port} is taken by another program, so the {service.name} server cannot start; "
            f"stop that program or set {service.setting} in params.yaml to a free port"
        )
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with _log(root, service).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            service.command, cwd=root, env={**os.environ, **service.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=None if is_kept else _die_with_parent(),
        )  # fmt: skip
    write_json(_note(root, service), {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "is_kept": is_kept, "version": service.version})
    return True


def refuse_other_version(service: Service, found: Running) -> None:
    """Check that a process that runs is of the version that is installed.

    Raises:
        ServiceError: it was started before an upgrade.
    """
    if found.version and found.version != service.version:
        raise ServiceError(
            f"{service.name} runs as version {found.version} (process {found.pid}), but {service.version} is here now; run `quarkmed down`, then `quarkmed up`"
        )


def wait_until_healthy(root: Path, service: Service) -> None:
    """Wait until a started service answers.

    Raises:
        ServiceError: its process ended, or it does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while not is_healthy(service):
        if running(root, service) is None:
            raise ServiceError(f"{service.name} ended while starting: {_last_line(_log(root, service))}; its log: {_log(root, service)}")
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{service.name}: its process runs, but did not answer within {START_SECONDS:.0f} s{' on ' + service.address if service.port else ''}; "
                f"`quarkmed down` stops it, then `quarkmed up`; its log: {_log(root, service)}"
            )
        time.sleep(0.2)


def stop_service(root: Path, service: Service) -> bool:
    """Stop exactly the process that was noted for a service; return whether there was one."""
    found = running(root, service)
    _note(root, service).unlink(missing_ok=True)
    if found is None:
        return False
    process = psutil.Process(found.pid)
    if service.run_seconds:
        _stop_runs(process, service.run_seconds)
    family = [process, *_living_children(process, recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    return True


def _stop_runs(process: psutil.Process, seconds: float) -> None:
    """Tell the processes of runs to save and end, and wait; a run that begins meanwhile is told too."""
    deadline = time.monotonic() + seconds
    told: set[int] = set()
    while time.monotonic() < deadline:
        runs = _living_children(process)
        for run in runs:
            with contextlib.suppress(psutil.NoSuchProcess):
                if run.pid not in told:
                    told.add(run.pid)
                    run.terminate()
        if not runs:
            return
        psutil.wait_procs(runs, timeout=0.5)


def _living_children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    """Return a process's children without those that have ended and wait to be asked for their exit code."""
    living = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in process.children(recursive=recursive):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    living.append(child)
    return living


def running(root: Path, service: Service) -> Running | None:
    """Return the service's process if the one that was noted still runs."""
    try:
        note = Running(**read_json(_note(root, service)))
        process = psutil.Process(note.pid)
        is_ours = abs(process.create_time() - note.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
        return note if is_ours else None
    except (StorageError, TypeError, psutil.NoSuchProcess):
        return None


def is_healthy(service: Service) -> bool:
    """Say whether the service answers."""
    if not service.port:
        beat = Path(service.health_path)
        return beat.is_file() and time.time() - beat.stat().st_mtime < SILENT_SECONDS
    try:
        with urllib.request.urlopen(f"{service.address}{service.health_path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _die_with_parent() -> Callable[[], None]:
    library = ctypes.CDLL(None)

    def set_signal() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return set_signal


def is_port_taken(port: int) -> bool:
    """Say whether a program listens on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _note(root: Path, service: Service) -> Path:
    return root / FOLDER / f"{service.name}.json"


def _log(root: Path, service: Service) -> Path:
    return root / FOLDER / f"{service.name}.log"


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()] if path.is_file() else []
    return lines[-1].strip() if lines else "it said nothing"
