"""Workspaces of runs, from request to removal: made or gone on with, locked, noted, removed when they ended well, swept.

`var/worktrees/<run>.json` says what a workspace was made for and how its run stands. A run that was killed leaves it at
"open" with nobody holding its lock: the same request, or the same flow run of Prefect, goes on in it. What nobody asks for
again is swept after `system.kept_workspace_days`, and the oldest beyond `system.kept_workspaces`.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.errors import SettingsError, StorageError, is_told_to_stop
from components.lineage import digest_value
from components.pipeline.graph import load_graph
from components.pipeline.own_workspace import (
    WORKTREES,
    commit_request,
    link_named_folders,
    make_workspace,
    resolve_revision,
    take_data,
    take_durations_home,
    workspace_settings,
    write_parameters,
)  # fmt: skip
from components.pipeline.worktrees import remove_worktree
from components.settings.overrides import overlaid_values, parse_overrides
from components.settings.settings import Settings, load_settings, overlay, read_yaml
from components.storage.files import exclusive, read_json, write_json
from flows.retrain_request import RetrainRequest
from flows.run_folder import is_held, new_run_id, workspace_lock

Status = Literal["open", "stopped", "failed"]
BUDGET = "launch.budget_gpu_hours"
OPERATIONAL = ("system", "launch")  # where things lie, run and listen here: never part of a result
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class WorkspaceNote:
    """What a workspace was made for and how its run stands."""

    run: str
    key: str  # digest of the request with its revisions resolved, without its budget
    flow_run: str | None
    status: Status
    reason: str
    touched: float  # seconds since the epoch


@dataclass
class OwnWorkspace:
    """A workspace that this process holds."""

    folder: Path
    run: str
    settings: Settings
    is_resumed: bool
    is_kept: bool = False  # set where it must not be removed: records that MLflow lacks lie in it


@contextlib.contextmanager
def own_workspace(root: Path, request: RetrainRequest, *, flow_run: str | None = None) -> Iterator[OwnWorkspace]:
    """Hold a workspace for a request; it is removed where the block ends well, and kept to go on with where it does not.

    Args:
        flow_run: id of Prefect's flow run; started again, it goes on in its workspace.
    Raises:
        SettingsError: an unknown revision, profile or override, or a value out of range; nothing is left behind.
    """
    with exclusive(root / WORKTREES / ".lock"):  # one process at a time makes, finds or sweeps workspaces
        sweep_workspaces(root)
        commit, data = resolve_revision(root, request.revision), resolve_revision(root, request.data_revision) if request.data_revision else None
        key = digest_value([commit, data, request.model_dump(mode="json", exclude={"revision", "data_revision", "budget_gpu_hours"})])
        note = _found(root, key, flow_run)
        is_resumed = note is not None
        if note is None:
            note = WorkspaceNote(new_run_id(time.time()), key, flow_run, "open", "", time.time())
            _make(root, _folder(root, note.run), request, commit=commit, data=data)
        else:
            _take_budget(root, _folder(root, note.run), request)
        note = replace(note, flow_run=flow_run, status="open", touched=time.time())
        _write(root, note)
        held = contextlib.ExitStack()
        held.enter_context(workspace_lock(_folder(root, note.run)))
    with held:
        try:
            place = OwnWorkspace(_folder(root, note.run), note.run, workspace_settings(_folder(root, note.run)), is_resumed)
            yield place
        except BaseException as error:
            _write(root, replace(note, status="stopped" if is_told_to_stop(error) else "failed", reason=str(error)[:500], touched=time.time()))
            raise
        take_durations_home(root, place.folder)
        if place.is_kept:
            _write(root, replace(note, status="stopped", reason="ended well, but MLflow lacks records of it", touched=time.time()))
            return
        _remove(root, note)


def workspace_notes(root: Path) -> list[WorkspaceNote]:
    """Return the notes of all workspaces, oldest first; damaged ones are left out."""
    notes = []
    for path in sorted((root / WORKTREES).glob("*.json")):
        with contextlib.suppress(StorageError, TypeError):
            notes.append(WorkspaceNote(**read_json(path)))
    return notes


def is_note_held(root: Path, note: WorkspaceNote) -> bool:
    """Say whether a process works in a note's workspace."""
    return is_held(_folder(root, note.run))


def sweep_workspaces(root: Path, *, now: float | None = None) -> list[str]:
    """Remove workspaces that nobody went on with for days, the oldest beyond the limit, and halves without a note; return the runs."""
    settings, now = load_settings(root / "params.yaml").system, now or time.time()
    free = [note for note in workspace_notes(root) if not is_note_held(root, note)]
    old = [note for note in free if now - note.touched > settings.kept_workspace_days * SECONDS_A_DAY]
    rest = sorted((note for note in free if note not in old), key=lambda note: note.touched)
    swept = [*old, *rest[: max(0, len(rest) - settings.kept_workspaces)]]
    for note in swept:
        _remove(root, note)
    known = {note.run for note in workspace_notes(root)}
    for folder in (root / WORKTREES).glob("*/"):
        if folder.name not in known:
            remove_worktree(root, folder)
    return [note.run for note in swept]


def _make(root: Path, folder: Path, request: RetrainRequest, *, commit: str, data: str | None) -> None:
    """Make the workspace of a request; nothing is left where that fails."""
    try:
        make_workspace(root, folder, commit=commit)
        if data is not None:
            take_data(folder, commit=data)
        write_parameters(folder, _values(root, folder, request))
        commit_request(folder, message="quarkmed: what was asked of a run")
        link_named_folders(root, folder, workspace_settings(folder))
        if request.first_anew is not None:
            load_graph(folder).row(request.first_anew)
    except BaseException:
        remove_worktree(root, folder)
        raise


def _take_budget(root: Path, folder: Path, request: RetrainRequest) -> None:
    """Give a workspace that is gone on with the budget of now: what ended for want of it goes on once it is raised."""
    here = read_yaml(root / "params.yaml").get("launch", {}).get("budget_gpu_hours")
    budget = {**parse_overrides(request.overrides), **request.operational()}.get(BUDGET, here)
    values = read_yaml(folder / "params.yaml")
    if budget != values.get("launch", {}).get("budget_gpu_hours"):
        write_parameters(folder, overlay(values, {"launch": {"budget_gpu_hours": budget}}))
        commit_request(folder, message="quarkmed: the budget of a run that goes on", names=("params.yaml",))


def _values(root: Path, folder: Path, request: RetrainRequest) -> dict[str, Any]:
    """Return params.yaml of the revision with the request's profile and overrides, and what is operational as it is here now."""
    base, here = read_yaml(folder / "params.yaml"), read_yaml(root / "params.yaml")
    for section in OPERATIONAL:
        present = here.get(section, {})
        base = overlay(base, {section: {key: value for key, value in present.items() if key in base.get(section, present)}} if present else {})
    profile = None
    if request.profile != "laptop":
        path = folder / "infra" / "profiles" / f"{request.profile}.yaml"
        if not path.is_file():
            raise SettingsError(f"profile {request.profile!r}: revision {request.revision} has no infra/profiles/{request.profile}.yaml")
        profile = read_yaml(path)
    return overlaid_values(base, profile=profile, overrides={**parse_overrides(request.overrides), **request.operational()})


def _found(root: Path, key: str, flow_run: str | None) -> WorkspaceNote | None:
    """Return the note of a workspace that this request, or this flow run, can go on in."""
    free = [note for note in workspace_notes(root) if not is_note_held(root, note) and _folder(root, note.run).is_dir()]
    own = [note for note in free if flow_run is not None and note.flow_run == flow_run]
    return next(iter([*own, *(note for note in free if note.key == key)]), None)


def _remove(root: Path, note: WorkspaceNote) -> None:
    remove_worktree(root, _folder(root, note.run))
    _note_path(root, note.run).unlink(missing_ok=True)


def _write(root: Path, note: WorkspaceNote) -> None:
    write_json(_note_path(root, note.run), asdict(note))


def _folder(root: Path, run: str) -> Path:
    return root / WORKTREES / run


def _note_path(root: Path, run: str) -> Path:
    return root / WORKTREES / f"{run}.json"
