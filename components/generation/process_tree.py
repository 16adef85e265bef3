"""The processes an engine starts, so that they can be ended where the engine no longer ends them itself."""

import contextlib
from collections.abc import Sequence

import psutil

GRACE_SECONDS = 5.0
TRACKER = "multiprocessing.resource_tracker"  # Python's own; it ends with this process


def child_processes() -> list[psutil.Process]:
    """Return this process's children and theirs."""
    return psutil.Process().children(recursive=True)


def started_since(before: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the children, and theirs, that are not among `before`."""
    return [process for process in child_processes() if process not in before and not _is_tracker(process)]


def end_processes(processes: Sequence[psutil.Process], *, grace_seconds: float = GRACE_SECONDS) -> None:
    """End processes: SIGTERM, and SIGKILL for those still there after the grace; ended ones are passed over."""
    for process in processes:
        _signal(process, "terminate")
    _, left = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in left:
        _signal(process, "kill")
    psutil.wait_procs(left, timeout=grace_seconds)


def has_ended(process: psutil.Process) -> bool:
    """Say whether a process no longer runs, whether its parent has noticed or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(process: psutil.Process, method: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # so says psutil, too, where the id belongs to a newer process
        getattr(process, method)()


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any(TRACKER in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return True
