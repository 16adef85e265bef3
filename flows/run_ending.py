"""What stands when a run has ended: its commit under refs/quarkmed/runs/<id>, its summary, its reports."""

import shutil
from pathlib import Path
from typing import Any

from components import layout
from components.settings.settings import load_settings
from flows.run_folder import point_latest, run_folder

REPORT_ENDINGS = (".json", ".html")


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
