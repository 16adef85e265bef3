"""Keep a run's dvc.lock and model references as a commit under refs/quarkmed/runs/<id>: never a branch, never the index.

Git plumbing with an index file of its own; the person's index, work tree and branches are not touched.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.errors import StorageError
from components.layout import WITHDRAWN

PREFIX = "refs/quarkmed/runs"
IDENTITY = {
    "GIT_AUTHOR_NAME": "quarkmed", "GIT_AUTHOR_EMAIL": "quarkmed@localhost",
    "GIT_COMMITTER_NAME": "quarkmed", "GIT_COMMITTER_EMAIL": "quarkmed@localhost",
}  # fmt: skip


def head_commit(root: Path) -> str | None:
    """Return the sha of HEAD; None outside a repository or before the first commit."""
    try:
        return run_git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    except StorageError:
        return None


def is_dirty(root: Path) -> bool:
    """Say whether tracked files differ from HEAD."""
    try:
        return bool(run_git(root, "status", "--porcelain", "--untracked-files=no"))
    except StorageError:
        return False


def keep_run(root: Path, run: str, *, message: str) -> str | None:
    """Commit HEAD's tree with the present dvc.lock, params.yaml, list of withdrawn ids and models/*.json under the run's reference; return the sha.

    None outside a git repository: the run is then only kept in runs/<id>.

    Raises:
        StorageError: git refuses.
    """
    if not _is_repository(root):
        return None
    files = [path for path in (root / "dvc.lock", root / "params.yaml", root / WITHDRAWN, *sorted((root / "models").glob("*.json"))) if path.is_file()]
    head = head_commit(root)
    index = root / "var" / f"index-{run}"
    index.parent.mkdir(parents=True, exist_ok=True)
    environment = {"GIT_INDEX_FILE": str(index)}
    try:
        if head:
            run_git(root, "read-tree", head, environment=environment)
        for path in files:
            blob = run_git(root, "hash-object", "-w", str(path))
            run_git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path.relative_to(root).as_posix()}", environment=environment)
        tree = run_git(root, "write-tree", environment=environment)
        parents = ["-p", head] if head else []
        commit = run_git(root, "commit-tree", tree, *parents, "-m", message, environment=IDENTITY)
        run_git(root, "update-ref", f"{PREFIX}/{run}", commit)
    finally:
        index.unlink(missing_ok=True)
    return commit


def _is_repository(root: Path) -> bool:
    try:
        return Path(run_git(root, "rev-parse", "--show-toplevel")).resolve() == root.resolve()
    except StorageError:
        return False


def run_git(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what git prints when run in a folder, stripped.

    Raises:
        StorageError: git is not installed, or refuses.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, env={**os.environ, **(environment or {})})
    except FileNotFoundError:
        raise StorageError("git is not installed; install it to keep runs under refs/quarkmed/runs") from None
    except subprocess.CalledProcessError as error:
        raise StorageError(f"git {arguments[0]} failed ({error.stderr.strip()}); mend the repository and run again") from None
    return done.stdout.strip()
