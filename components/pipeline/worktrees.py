"""The other work trees of a project's git repository; each may hold data, caches and work of its own."""

import subprocess
from pathlib import Path


def other_worktrees(root: Path) -> list[Path]:
    """Return the folders of the repository's other work trees that exist; none outside a git repository."""
    try:
        done = subprocess.run(["git", "worktree", "list", "--porcelain", "-z"], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    found = [Path(field.removeprefix("worktree ")) for field in done.stdout.split("\0") if field.startswith("worktree ")] if done.returncode == 0 else []
    return [folder for folder in found if folder.is_dir() and folder.resolve() != root.resolve()]


def is_tracked(path: Path) -> bool:
    """Say whether git tracks a file, or anything in a folder."""
    try:
        done = subprocess.run(["git", "ls-files", "--", path.name], cwd=path.parent, capture_output=True, text=True, check=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
