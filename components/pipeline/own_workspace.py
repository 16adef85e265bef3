"""A folder of its own for one run: a git worktree at the asked revision, under var/worktrees/<run>.

The person's files, index, branches and dvc.lock are not touched: git writes to .git/worktrees only. What differs from the
revision (another data version, a profile, overrides) is committed on the worktree's detached HEAD, with the times of the
revision, so that equal requests are equal commits and `git_sha` says all that was asked.

What lies where, and why:

    shared, by a link to the project's own   var/dvc-cache, var/dvc-remote    content-addressed; DVC writes by rename
                                             var/store, var/store-cache       content-addressed; published by rename
                                             var/mlflow, var/registry         databases, which lock for themselves
                                             var/lineage, var/vllm            made from the above; an environment
                                             var/launch                       GPU-hours of all runs (appended to)
                                             runs                             outlives the worktree
    own                                      .dvc/tmp                         DVC's lock of a workspace
                                             var/work                         two runs of equal inputs must not share checkpoints
                                             var/dvc-site, var/dvc.lock.last  DVC's state of these very files
                                             var/retrain.lock                 one run a folder
                                             dvc.lock, artifacts, models      what the run makes
    the project's, not linked                var/prefect, var/services, var/watch, var/worktrees

var/work/durations.json is copied in, for the plan's times, and what the run adds is copied back. Stages run the
worktree's own components/; the flow around them is the served project's.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from components.errors import SettingsError, StorageError
from components.pipeline.durations import DURATIONS, note_duration, read_durations
from components.pipeline.graph import load_graph
from components.pipeline.named_folders import named_folders
from components.pipeline.run_reference import IDENTITY, run_git
from components.pipeline.worktrees import NO_HOOKS, add_worktree
from components.settings.settings import Settings, load_settings

WORKTREES = "var/worktrees"
SHARED = ("var/dvc-cache", "var/dvc-remote", "var/store", "var/store-cache", "var/mlflow", "var/registry", "var/lineage", "var/launch", "runs")
DATA = ("data", "data.dvc")


def resolve_revision(root: Path, revision: str) -> str:
    """Return the commit of a branch, tag or commit.

    Raises:
        SettingsError: the project is no git repository of its own, or has no such revision.
    """
    try:
        if Path(run_git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            raise SettingsError(f"{root}: not the top of a git repository, so a run cannot have a worktree of its own; run `git init` and commit here")
        return run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except StorageError:
        raise SettingsError(f"revision {revision!r}: git knows no such branch, tag or commit here; `git fetch` may bring it") from None


def make_workspace(root: Path, folder: Path, *, commit: str) -> None:
    """Make a worktree of the project at a commit and link what is shared.

    Raises:
        StorageError: git refuses, or the disk is full.
    """
    try:
        add_worktree(root, folder, commit=commit)
        for name in SHARED:
            (root / name).mkdir(parents=True, exist_ok=True)
            _link(folder / name, root / name)
        if (root / "var" / "vllm").is_dir():
            _link(folder / "var" / "vllm", root / "var" / "vllm")
        _copy(root / ".dvc" / "config.local", folder / ".dvc" / "config.local")
        _copy(root / DURATIONS, folder / DURATIONS)
        if not (folder / "dvc.lock").exists():  # it says why a stage is stale; outputs come from the run cache
            _copy(root / "dvc.lock", folder / "dvc.lock")
    except OSError as error:
        raise StorageError(f"{folder}: the run's workspace cannot be made ({error.strerror}); free the disk, then run again") from error


def take_data(folder: Path, *, commit: str) -> None:
    """Let the workspace's data be those of another commit: data/, and data.dvc where DVC keeps the folder as a whole.

    Raises:
        SettingsError: the commit has neither.
    """
    names = run_git(folder, "ls-tree", "--name-only", commit, "--", *DATA).splitlines()
    if not names:
        raise SettingsError(f"commit {commit[:12]} has no data/, so its data cannot be taken; name another data revision")
    run_git(folder, "rm", "-r", "-q", "-f", "--ignore-unmatch", "--", *DATA)
    run_git(folder, "restore", f"--source={commit}", "--worktree", "--staged", "--", *names)


def check_out_data(folder: Path) -> None:
    """Bring the data that DVC tracks by `*.dvc` files into the workspace: from the shared cache, else from the remote.

    Raises:
        StorageError: neither holds it.
    """
    pointers = [name for name in run_git(folder, "ls-files", "*.dvc").splitlines() if (folder / name).is_file()]
    if not pointers:
        return
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(folder / "var" / "dvc-site"))
    repo = Repo(str(folder))
    with contextlib.chdir(folder):
        try:
            repo.checkout(pointers, force=True)
        except DvcException:
            try:
                repo.pull(pointers, force=True)
            except DvcException as error:
                raise StorageError(f"{', '.join(pointers)}: the data version is neither in DVC's cache nor in its remote ({error}); `dvc push` it where it was made") from None


def write_parameters(folder: Path, values: dict[str, Any]) -> None:
    """Write params.yaml where its values differ from those that stand there."""
    path = folder / "params.yaml"
    if yaml.safe_load(path.read_text(encoding="utf-8")) != values:
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def commit_request(folder: Path, *, message: str, names: tuple[str, ...] = ()) -> str:
    """Commit what differs from HEAD on the workspace's detached HEAD; return the commit, HEAD where nothing differs.

    Args:
        names: of the files to commit; all that git tracks where none is named.
    """
    run_git(folder, "add", *(("--", *names) if names else ("--update",)))
    if not run_git(folder, "diff", "--cached", "--name-only"):
        return run_git(folder, "rev-parse", "HEAD")
    time = run_git(folder, "show", "--no-patch", "--format=%cI", "HEAD")
    dated = {**IDENTITY, "GIT_AUTHOR_DATE": time, "GIT_COMMITTER_DATE": time}
    run_git(folder, *NO_HOOKS, "-c", "commit.gpgSign=false", "commit", "--quiet", "--message", message, environment=dated)
    return run_git(folder, "rev-parse", "HEAD")


def link_named_folders(root: Path, folder: Path, settings: Settings) -> None:
    """Let relative paths of the settings lead where they lead in the project: the store, `sources.folder`, `model.folder`.

    Raises:
        SettingsError: one leads out of the project by "..", where a workspace has another surrounding.
    """
    named = {"system.store": root / settings.system.store}
    for row in load_graph(folder).rows:
        named |= named_folders(root, row, settings)
    for setting, target in named.items():
        written = _written(settings, setting)
        if Path(written).expanduser().is_absolute() or "://" in written:
            continue
        place = Path(os.path.normpath(folder / written))
        if not place.is_relative_to(folder):
            raise SettingsError(f"{setting}: {written!r} leads out of the project, where a run's own workspace has other neighbours; make it absolute")
        if not place.exists():
            _link(place, target)


def take_durations_home(root: Path, folder: Path) -> None:
    """Note in the project how long the stages took that the workspace ran."""
    before = read_durations(root)
    for name, seconds in read_durations(folder).items():
        if before.get(name) != seconds:
            note_duration(root, name, seconds)


def workspace_settings(folder: Path) -> Settings:
    """Return the settings of a workspace."""
    return load_settings(folder / "params.yaml")


def _written(settings: Settings, setting: str) -> str:
    value: Any = settings
    for part in setting.split("."):
        value = getattr(value, part)
    return str(value)


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.exists():
        return
    place.symlink_to(os.path.relpath(target, place.parent))  # relative: a pod sees the project under another path
    if target.exists() and not place.exists():  # a folder above is itself a link
        place.unlink()
        place.symlink_to(target.resolve())


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
