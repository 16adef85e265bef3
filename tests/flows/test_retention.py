"""Which runs' folders and logs go: the oldest first, never the latest, the newest, one at work, or what git keeps."""

from pathlib import Path

import pytest

from components.pipeline.events import RunEvents
from components.settings.system import SystemSettings
from flows.retention import sweep_runs, what_goes

NAMES = [f"2026010{day}-000000-aaaa" for day in range(1, 7)]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Return six ended runs, oldest first, each with a MiB of logs."""
    found = []
    for name in NAMES:
        events = RunEvents(tmp_path / "runs" / name)
        events.end("finished")
        (events.folder / "logs" / "stages.log").write_bytes(b"x" * (1 << 20))
        found.append(events.folder)
    return found


def gone(folders: list[Path], *, kept: set[str] = frozenset(), latest: str = "", at_work: set[str] = frozenset(), **settings) -> tuple[list[int], list[int]]:
    removal = what_goes(folders, kept=kept, latest=latest, at_work=at_work, settings=SystemSettings(**settings))
    return [folders.index(folder) for folder in removal.runs], [folders.index(folder) for folder in removal.logs]


def test_of_runs_beyond_the_limit_what_git_keeps_loses_its_logs_and_the_others_go(folders):
    assert gone(folders, kept={NAMES[1]}, kept_runs=3) == ([0, 2], [1])
    assert gone(folders, kept_runs=6) == ([], [])


def test_the_latest_and_a_run_at_work_are_spared(folders):
    assert gone(folders, latest=NAMES[0], at_work={NAMES[2]}, kept_runs=3) == ([1], [])


def test_logs_go_oldest_first_until_the_rest_fits_and_the_newest_stay(folders):
    # Six logs of a MiB and some bytes: four fit into 4.5 MiB, so the two oldest that may go do.
    assert gone(folders, latest=NAMES[0], kept_logs_mib=4.5) == ([], [1, 2])
    assert gone(folders, kept_logs_mib=0.001) == ([], [0, 1, 2, 3, 4])


def test_the_sweep_removes_just_that_and_a_second_one_nothing(tmp_path, folders):
    (tmp_path / "runs" / "latest").symlink_to(NAMES[1])
    settings = SystemSettings(kept_runs=4, kept_logs_mib=3.5)
    sweep_runs(tmp_path, settings)
    assert [folder.is_dir() for folder in folders] == [False, True, True, True, True, True]
    assert [(folder / "logs").is_dir() for folder in folders] == [False, True, False, False, True, True]
    assert [(folder / "events.jsonl").is_file() for folder in folders[1:]] == [True] * 5
    removal = sweep_runs(tmp_path, settings)
    assert (removal.runs, removal.logs) == ((), ())
