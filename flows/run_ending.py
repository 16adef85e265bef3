"""What stands when a run has ended: its last event, its commit under refs/quarkmed/runs/<id>, its summary, its reports."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import layout
from components.errors import is_told_to_stop
from components.pipeline.events import RunEvents
from components.settings.settings import load_settings
from flows.run_folder import point_latest, run_folder

REPORT_ENDINGS = (".json", ".html")


@contextlib.contextmanager
def noted_ending(events: RunEvents) -> Iterator[None]:
    """Write a run's last event however the block ends: finished, stopped or failed, and why."""
    outcome, cause = "finished", ""
    try:
        yield
    except BaseException as error:
        from components.launch.failures import classify_failure

        outcome = "stopped" if is_told_to_stop(error) else "failed"
        cause = str(classify_failure(error)) if isinstance(error, Exception) else type(error).__name__
        raise
    finally:
        events.end(outcome, cause=cause)


def keep_ended_run(root: Path, run: str, *, profile: str, started: float, now: float) -> dict[str, Any]:
    """Commit the run's dvc.lock and references, write runs/<id>/summary.json, let runs/latest lead to it; return the summary.

    Args:
        started: when the run began, in seconds since the epoch, as `now`.
    """
    from components.pipeline.run_reference import head_commit, keep_run
    from components.pipeline.workspace import Workspace
    from flows.summary import write_summary

    digests = Workspace(root, load_settings(root / "params.yaml")).data_digests()
    keep_run(root, run, message=f"quarkmed run {run}")
    summary = write_summary(root, run_folder(root, run), git_sha=head_commit(root), profile=profile, wall_seconds=now - started, data=digests)
    point_latest(root, run)
    return summary


def keep_reports(root: Path, run: str) -> None:
    """Copy the evaluation's reports to runs/<id>/evaluate/, because the workspace they lie in is going to be removed."""
    source, target = (root / layout.REPORT).parent, run_folder(root, run) / "evaluate"
    for path in sorted(source.glob("*")) if source.is_dir() else []:
        if path.suffix in REPORT_ENDINGS:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.name)
