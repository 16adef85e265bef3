"""Read back what finished runs kept under refs/quarkmed/runs/<id>: dvc.lock, params.yaml and models/*.json as they were.

One `git cat-file --batch` answers for all runs, so that a hundred runs cost one process. Nothing is written.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.pipeline.run_reference import PREFIX


@dataclass(frozen=True)
class KeptRun:
    """A finished run and the commit that keeps it."""

    run: str
    commit: str


def kept_runs(root: Path) -> list[KeptRun]:
    """Return the kept runs, newest first (a run's id begins with its time); none outside a git repository."""
    listing = _ask_git(root, "for-each-ref", "--format=%(refname) %(objectname)", PREFIX)
    pairs = [line.split() for line in (listing or b"").decode().splitlines()]
    return sorted((KeptRun(name.removeprefix(f"{PREFIX}/"), commit) for name, commit in pairs), key=lambda kept: kept.run, reverse=True)


def read_kept(root: Path, wanted: Iterable[tuple[KeptRun, str]]) -> dict[tuple[str, str], str]:
    """Return {(run, path): text of that file in the run's commit}; what a commit does not hold is left out."""
    pairs = list(wanted)
    given = "".join(f"{kept.commit}:{path}\n" for kept, path in pairs).encode()
    rest = _ask_git(root, "cat-file", "--batch", given=given) if pairs else None
    texts: dict[tuple[str, str], str] = {}
    for kept, path in pairs:
        head, _, rest = (rest or b"").partition(b"\n")
        if not head or head.endswith(b" missing"):
            continue
        size = int(head.split()[-1])
        texts[kept.run, path], rest = rest[:size].decode("utf-8", errors="replace"), rest[size + 1 :]
    return texts


def list_kept(root: Path, kept: KeptRun, folder: str) -> list[str]:
    """Return the paths of the files in a folder of a run's commit."""
    listing = _ask_git(root, "ls-tree", "--name-only", "-z", kept.commit, f"{folder.rstrip('/')}/")
    return [name for name in (listing or b"").decode().split("\0") if name]


def _ask_git(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return what git prints, or None where it refuses or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
