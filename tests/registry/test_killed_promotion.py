"""Promotion in real processes: killed by SIGKILL at every point, mended by the next one; ten at once leave one champion."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.registry.journal import Journal
from components.registry.promotion import recover

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("promoting_process.py")
SPEC = importlib.util.spec_from_file_location("promoting_process", SCRIPT)
process = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(process)
MODEL = process.MODEL
POINTS = ("before PREPARED", "after PREPARED", "after previous_champion", "after champion", "after reading back", "before COMMITTED", "after COMMITTED")


class Place:
    """A folder with a journal, aliases and some versions; `die` runs the promotion in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "versions.txt").write_text("1 2 3 " + " ".join(f"v{number}" for number in range(10)))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})

    def die(self, version: str, point: str) -> None:
        assert self.run(version, point).returncode == -signal.SIGKILL

    def recover(self) -> list[str]:
        return recover(self.journal, process.FileAliases(self.folder), model=MODEL)

    @property
    def aliases(self) -> dict[str, str]:
        return process.FileAliases(self.folder).aliases

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(entry.kind, entry.version) for entry in self.journal.entries(MODEL)]

    @property
    def journal(self) -> Journal:
        return Journal(process.journal_address(self.folder))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place whose champion is version 1."""
    process.promote_version(Place(tmp_path).folder, "1", expected=None)
    return Place(tmp_path)


FIRST = [("PREPARED", "1"), ("COMMITTED", "1")]
SECOND = [("PREPARED", "2"), ("COMMITTED", "2")]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_process_finishes_and_says_so(place, point):
    place.die("2", point)
    served = "2" if POINTS.index(point) >= POINTS.index("after champion") else "1"
    assert place.aliases["champion"] == served  # one or the other, never neither
    is_begun, is_ended = point != "before PREPARED", point == "after COMMITTED"
    assert place.recover() == (["finished promotion 3: version 2 of quarkmed is champion"] if is_begun and not is_ended else [])
    assert place.kinds == (FIRST + SECOND if is_begun else FIRST)
    assert place.aliases == ({"champion": "2", "previous_champion": "1"} if is_begun else {"champion": "1"})
    assert place.recover() == []
    process.promote_version(place.folder, "3", expected="2" if is_begun else "1")  # the way is free
    assert place.journal.champion(MODEL).version == "3"


def test_killed_with_a_version_that_is_gone_the_next_process_aborts_and_says_so(place):
    place.die("2", "after PREPARED")
    (place.folder / "versions.txt").write_text("1 3")
    assert place.recover() == ["aborted promotion 3: the registry does not hold version 2 of quarkmed; the champion is unchanged"]
    assert place.kinds == [*FIRST, ("PREPARED", "2"), ("ABORTED", "2")]
    assert place.aliases == {"champion": "1"}


def test_ten_processes_that_expect_the_same_champion_leave_one_and_a_whole_history(tmp_path):
    place = Place(tmp_path)
    done = place.run("ten")
    codes = json.loads(done.stdout)
    assert sorted(codes) == [0] + [1] * 9, done.stderr
    winner = f"v{codes.index(0)}"
    assert place.kinds == [("PREPARED", winner), ("COMMITTED", winner)]
    assert place.aliases == {"champion": winner}


def test_ten_processes_that_insist_are_promoted_one_after_the_other_each_after_the_one_it_saw(tmp_path):
    place = Place(tmp_path)
    done = place.run("ten", "insisting")
    assert json.loads(done.stdout) == [0] * 10, done.stderr
    entries = place.journal.entries(MODEL)
    assert [entry.sequence for entry in entries] == list(range(1, 21))
    assert [entry.kind for entry in entries] == ["PREPARED", "COMMITTED"] * 10  # never two open at once
    order = [entry.version for entry in entries[::2]]
    assert sorted(order) == [f"v{number}" for number in range(10)] and [entry.version for entry in entries[1::2]] == order
    assert [entry.champion_before for entry in entries[::2]] == [None, *order[:-1]]
    assert place.aliases == {"champion": order[-1], "previous_champion": order[-2]}
