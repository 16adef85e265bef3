"""Seconds of a `retrain` that finds nothing to do, as a person waits for it."""

import subprocess
import time
from pathlib import Path

from bench.overhead.projects import SECONDS, retrain_command


def bring_up_to_date(project: Path) -> None:
    """Run `retrain` once; raises RuntimeError where it fails."""
    _retrain(project)


def no_change_seconds(project: Path, *, repeats: int) -> list[float]:
    """Return the seconds of each run, start of Python to its end; raises RuntimeError where one finds something to do."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        said = _retrain(project)
        seconds.append(round(time.perf_counter() - started, 3))
        if not said.startswith("Nothing to do"):
            raise RuntimeError(f"a retrain of {project} found something to do, so it measures nothing:\n{said[-2000:]}")
    return seconds


def _retrain(project: Path) -> str:
    done = subprocess.run(retrain_command(project), cwd=project, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"`retrain` of {project} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
