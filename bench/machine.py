"""Where and on what a measurement is made: the processor, with a machine's GPUs kept out, and the commit."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class GitState:
    """The commit checked out and whether the checkout is without changes; both None outside a git repository."""

    sha: str | None
    is_clean: bool | None


def keep_gpus_out() -> None:
    """Hide a machine's GPUs from this process and the peers it starts; to be called before torch is imported.

    Models are loaded to a GPU where there is one, and the peers' are not.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def cpu_text() -> str:
    """Return the processor's name and how many cores the machine has."""
    names = [line.split(":", 1)[1].strip() for line in CPU_INFO.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
    cores = os.cpu_count() or 1
    return f"{names[0] if names else 'unknown processor'}, {cores} core{'s' if cores != 1 else ''}"


def git_state(root: Path) -> GitState:
    """Ask git about the folder."""
    sha = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".", ":!bench/results")  # what a bench stored before changes no measurement
    return GitState(sha, None if sha is None or changes is None else not changes)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
