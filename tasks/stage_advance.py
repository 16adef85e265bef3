"""How a stage is brought up to date: ask DVC, restore or launch, commit, have the record replayed. Without Prefect."""

from pathlib import Path
from typing import Any

from components.errors import Preempted, QuarkmedError
from components.pipeline.plan import ANEW
from components.pipeline.running import StageRun, finished_run, model_records, work_folder
from components.pipeline.stage_key import stage_inputs, stage_key
from components.recorder import read_warnings
from components.tracking.replay import StageReport
from tasks.session import RetrainSession

SHOWN_FILES = (".json", ".html", ".md", ".svg", ".png")
SHOWN_BYTES = 8 << 20


def advance_stage(session: RetrainSession, name: str) -> str:
    """Bring a stage up to date; every ending is an event of the run.

    Raises:
        QuarkmedError: whatever the stage raised, or an input that changed while it ran.
    """
    workspace, events, row = session.workspace, session.events, session.workspace.graph.row(name)
    is_anew = session.is_due_anew(name)
    reasons = [ANEW] if is_anew else workspace.reasons(name)
    if not reasons:
        if session.status_of(name) == "restored":
            return "restored"
        events.stage(name, "skipped", reason="nothing changed")
        return "skipped"
    why = "; ".join(reasons)
    inputs = stage_inputs(session.root, row, session.settings)
    key = stage_key(inputs)
    taken = workspace.input_hashes(name)
    ended = finished_run(session.root, row, key)
    if ended is None:
        if not is_anew and _restore(session, name, why, inputs, taken):
            return "restored"
        ended = _launch(session, name, why, key)
    else:
        why = "had ended when the run was interrupted"
    for warning in read_warnings(Path(ended.folder)):
        events.note(f"{name}: {warning}")
    digests = workspace.commit(name, taken)
    _report(session, name, ended, inputs, taken, digests)
    status = "resumed" if ended.is_resumed else "ran"
    events.stage(name, status, reason=why, seconds=ended.seconds if status == "ran" else _spent(session, ended, why), folder=ended.folder)
    return status


def restore_stage(session: RetrainSession, name: str, why: str) -> bool:
    """Restore a stage that was made before from the very inputs; say whether it was."""
    inputs = stage_inputs(session.root, session.workspace.graph.row(name), session.settings)
    return _restore(session, name, why, inputs, session.workspace.input_hashes(name))


def _restore(session: RetrainSession, name: str, why: str, inputs: dict[str, Any], taken: dict[str, Any]) -> bool:
    digests = session.workspace.restore(name)
    if digests is None:
        return False
    _report(session, name, _unrun(session.root, name, stage_key(inputs)), inputs, taken, digests)
    session.events.stage(name, "restored", reason=f"{why}; made before from the same inputs")
    return True


def _launch(session: RetrainSession, name: str, why: str, key: str) -> StageRun:
    folder = str(work_folder(session.root, name, key))
    session.events.stage(name, "running", reason=why, folder=folder)
    try:
        return session.launcher.run_stage(name, key)
    except QuarkmedError as error:
        session.events.stage(name, "stopped" if isinstance(error, Preempted) else "failed", reason=str(error), folder=folder)
        raise


def _spent(session: RetrainSession, ended: StageRun, why: str) -> float:
    """Return the seconds this run spent on a resumed stage; none where it had ended before."""
    return 0.0 if why.startswith("had ended") else ended.seconds


def _unrun(root: Path, name: str, key: str) -> StageRun:
    folder = work_folder(root, name, key)
    folder.mkdir(parents=True, exist_ok=True)
    return StageRun(name=name, key=key, folder=str(folder), seconds=0.0, is_resumed=False)


def _report(session: RetrainSession, name: str, ended: StageRun, inputs: dict[str, Any], taken: dict[str, Any], digests: dict[str, str]) -> None:
    row = session.workspace.graph.row(name)
    references = model_records(session.root, row, session.settings)
    report = StageReport(
        name=name, key=ended.key, folder=ended.folder, parameters=inputs["parameters"],
        inputs={path: str(value) for path, value in taken.items() if path != "params.yaml"}, outputs=digests, models=references,
        files=tuple(_shown_files(session.root, row.outputs)),
    )  # fmt: skip
    session.replay(report)


def _shown_files(root: Path, outputs: tuple[str, ...]) -> list[str]:
    """Return the small reports among a stage's outputs; data (JSON lines, Parquet) stays with DVC."""
    found = []
    for output in outputs:
        folder = root / output
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.suffix in SHOWN_FILES and path.stat().st_size < SHOWN_BYTES:
                found.append(path.relative_to(root).as_posix())
    return found
