"""What stays of old runs, so that runs/ does not grow for ever; called at the end of a run, oldest first.

The newest `system.kept_runs` stay whole. Of an older one that git keeps (refs/quarkmed/runs/<id>) the logs go, its events,
summary and model card stay; an older one that never finished goes whole. Then, whatever their age, logs go until those
left take less than `system.kept_logs_mib`. The run that runs/latest leads to, runs at work and the newest run lose nothing.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.pipeline.events import RUNS
from components.pipeline.kept_runs import kept_runs
from components.settings.system import SystemSettings
from flows.run_folder import all_runs
from flows.run_states import AT_WORK, run_state

LOGS = "logs"
FAILURES = "var/logs"
KEPT_FAILURES = 20  # tracebacks of commands
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Removal:
    """What retention takes away: whole runs, and the logs of others."""

    runs: tuple[Path, ...]
    logs: tuple[Path, ...]


def sweep_runs(root: Path, settings: SystemSettings) -> Removal:
    """Remove what no longer stays and return it; what cannot be removed is left."""
    folders = all_runs(root)
    latest = (root / RUNS / "latest").resolve()
    removal = what_goes(
        folders, kept={kept.run for kept in kept_runs(root)}, latest=latest.name, at_work={folder.name for folder in folders if run_state(folder).outcome == AT_WORK},
        settings=settings,
    )  # fmt: skip
    for folder in removal.runs:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in removal.logs:
        shutil.rmtree(folder / LOGS, ignore_errors=True)
    for path in sorted((root / FAILURES).glob("failure-*.txt"))[:-KEPT_FAILURES]:
        path.unlink(missing_ok=True)
    return removal


def what_goes(folders: Sequence[Path], *, kept: Collection[str], latest: str, at_work: Collection[str], settings: SystemSettings) -> Removal:
    """Say what goes.

    Args:
        folders: of all runs, oldest first.
        kept: ids of the runs that git keeps.
        latest: id of the last run that finished.
        at_work: ids of runs that have not ended.
    """
    spared = {latest, *at_work, *(folder.name for folder in folders[-1:])}
    old = [folder for folder in folders[: -settings.kept_runs] if folder.name not in spared]
    runs = [folder for folder in old if folder.name not in kept]
    logs = [folder for folder in old if folder.name in kept and (folder / LOGS).is_dir()]
    staying = [folder for folder in folders if folder not in runs and folder not in logs and (folder / LOGS).is_dir()]
    sizes = {folder: log_bytes(folder) for folder in staying}
    total = sum(sizes.values())
    for folder in staying:
        if total <= settings.kept_logs_mib * MEBIBYTE:
            break
        if folder.name not in spared:
            total -= sizes[folder]
            logs.append(folder)
    return Removal(tuple(runs), tuple(logs))


def log_bytes(folder: Path) -> int:
    """Return the bytes of a run's logs."""
    return sum(path.stat().st_size for path in (folder / LOGS).rglob("*") if path.is_file())
