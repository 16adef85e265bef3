"""The folder of a run, runs/<id>/, and the lock that lets one `retrain` at a time work in a folder."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError
from components.pipeline.events import RUNS
from components.storage.files import exclusive

LOCK = "var/retrain.lock"
SETTLING = "var/registry/settling.lock"  # var/registry is shared by all workspaces of a project


def new_run_id(now: float) -> str:
    """Return a run's id: its start in UTC and four random digits."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def run_folder(root: Path, run: str) -> Path:
    """Return the folder of a run."""
    return root / RUNS / run


def all_runs(root: Path) -> list[Path]:
    """Return the folders of the runs, oldest first (a run's id begins with its time)."""
    return sorted(path for path in (root / RUNS).glob("*") if path.is_dir() and not path.is_symlink())


def newest_run(root: Path) -> Path | None:
    """Return the folder of the run that began last, None where there is none."""
    return next(reversed(all_runs(root)), None)


def point_latest(root: Path, run: str) -> None:
    """Let runs/latest lead to a run, in one step."""
    link, temporary = root / RUNS / "latest", root / RUNS / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run)
    os.replace(temporary, link)


@contextlib.contextmanager
def workspace_lock(root: Path) -> Iterator[None]:
    """Hold the folder for one run; the kernel lets go when the process dies, so no lock is ever stale.

    Raises:
        UserError: another run works here; names its process.
    """
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise UserError(f"another `quarkmed retrain` (process {owner}) works in {root}; wait for it, or stop it, then run again") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


@contextlib.contextmanager
def settling(root: Path) -> Iterator[None]:
    """Wait for, and be, the only run of the project that registers, judges and promotes: each is compared with the last one's champion."""
    with exclusive(root / SETTLING):
        yield


def is_held(root: Path) -> bool:
    """Say whether a process works in a folder."""
    path = root / LOCK
    if not path.is_file():
        return False
    with path.open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def running_process(root: Path) -> int | None:
    """Return the process that holds the workspace, or None."""
    if not is_held(root):
        return None
    text = (root / LOCK).read_text(encoding="utf-8").strip()
    return int(text) if text.isdigit() else None
