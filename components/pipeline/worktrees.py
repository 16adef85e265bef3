"""Work trees of a project's git repository beside its own folder: made at a commit, removed, listed.

Git writes to .git/worktrees only; the person's files, index and branches are not touched, and no hook of theirs runs.
"""

import shutil
from pathlib import Path

from components.errors import StorageError
from components.pipeline.run_reference import run_git

NO_HOOKS = ("-c", "core.hooksPath=/dev/null")


def add_worktree(root: Path, folder: Path, *, commit: str) -> None:
    """Make a work tree with a detached HEAD at a commit.

    Raises:
        StorageError: git refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    run_git(root, *NO_HOOKS, "worktree", "add", "--detach", "--force", str(folder), commit)


def remove_worktree(root: Path, folder: Path) -> None:
    """Remove a work tree with all that was made in it, and git's note of it; what its links lead to stays."""
    shutil.rmtree(folder, ignore_errors=True)
    run_git(root, "worktree", "prune")


def other_worktrees(root: Path) -> list[Path]:
    """Return the folders of the repository's other work trees that exist; none outside a git repository."""
    try:
        listing = run_git(root, "worktree", "list", "--porcelain", "-z")
    except StorageError:
        return []
    found = [Path(field.removeprefix("worktree ")) for field in listing.split("\0") if field.startswith("worktree ")]
    return [folder for folder in found if folder.is_dir() and folder.resolve() != root.resolve()]


def is_tracked(path: Path) -> bool:
    """Say whether git tracks a file, or anything in a folder."""
    try:
        return bool(run_git(path.parent, "ls-files", "--", path.name))
    except (StorageError, NotADirectoryError):
        return False
