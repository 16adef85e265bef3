"""Promotion in real processes: killed by SIGKILL at every point, mended by the next one; ten at once leave one champion.

The aliases lie in a JSON file here, one atomic write each, as they are rows of a database in MLflow; the journal is the real one.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.registry.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
MODEL = "quarkmed"
POINTS = ("before PREPARED", "after PREPARED", "after previous_champion", "after champion", "after reading back", "after COMMITTED")
SCRIPT = '''
import json, os, signal, sys
from pathlib import Path
from components.registry.journal import Journal, PromotionConflict
from components.registry.promotion import Candidate, promote, recover
from components.storage.files import write_json

folder, model = Path(sys.argv[1]), "quarkmed"
die_at = sys.argv[3] if len(sys.argv) > 3 else ""


def reached(point):
    if point == die_at:
        os.kill(os.getpid(), signal.SIGKILL)


class FileAliases:
    """Aliases in a file; asked for `champion` after it was set, it has read back."""

    was_set = False

    def get_alias(self, alias):
        path = folder / "aliases.json"
        found = json.loads(path.read_text()).get(alias) if path.is_file() else None
        if self.was_set and alias == "champion":
            reached("after reading back")
        return found

    def set_alias(self, alias, version):
        path = folder / "aliases.json"
        aliases = json.loads(path.read_text()) if path.is_file() else {}
        write_json(path, {**aliases, alias: version})
        self.was_set = alias == "champion"
        reached(f"after {alias}")

    def has_version(self, version):
        return version in (folder / "versions.txt").read_text().split()


class WatchedJournal(Journal):
    def _insert(self, entry):
        reached(f"before {entry.kind}")
        entry = super()._insert(entry)
        reached(f"after {entry.kind}")
        return entry


def promoted(version, expected):
    candidate = Candidate(model, version, f"key-{version}", {"reasons": [], "why": f"asked by {os.getpid()}"})
    return promote(WatchedJournal(address), FileAliases(), candidate, expected_champion=expected)


def ten_at_once(insists):
    """Fork ten processes that promote ten versions when a pipe is closed, and print their exit codes."""
    wait, go = os.pipe()
    children = []
    for number in range(10):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(wait, 1)
            while True:
                champion = Journal(address).champion(model) if insists else None
                try:
                    promoted(f"v{number}", champion.version if champion else None)
                except PromotionConflict:
                    if insists:
                        continue
                    os._exit(1)
                os._exit(0)
        children.append(child)
    os.close(wait)
    os.close(go)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


address = f"sqlite:///{folder / 'journal.db'}"
if sys.argv[2] == "recover":
    print("\\n".join(recover(Journal(address), FileAliases(), model=model)))
elif sys.argv[2] == "ten":
    Journal(address)
    ten_at_once(die_at == "insisting")
else:
    champion = Journal(address).champion(model)
    promoted(sys.argv[2], champion.version if champion else None)
'''


class Place:
    """A folder with a journal, aliases and three versions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "script.py").write_text(SCRIPT)
        (folder / "versions.txt").write_text("1 2 3 " + " ".join(f"v{number}" for number in range(10)))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.folder / "script.py"), str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})

    @property
    def aliases(self) -> dict[str, str]:
        return json.loads((self.folder / "aliases.json").read_text())

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(entry.kind, entry.version) for entry in self.journal.entries(MODEL)]

    @property
    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.folder / 'journal.db'}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    done = place.run("1")
    assert done.returncode == 0, done.stderr
    return place


FIRST = [("PREPARED", "1"), ("COMMITTED", "1")]
SECOND = [("PREPARED", "2"), ("COMMITTED", "2")]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_process_finishes_and_says_so(place, point):
    assert place.run("2", point).returncode == -signal.SIGKILL
    served = "2" if POINTS.index(point) >= POINTS.index("after champion") else "1"
    assert place.aliases["champion"] == served  # one or the other, never neither
    mended = place.run("recover")
    is_begun, is_ended = point != "before PREPARED", point == "after COMMITTED"
    assert mended.stdout.strip() == ("finished promotion 3: version 2 of quarkmed is champion" if is_begun and not is_ended else ""), mended.stderr
    assert place.kinds == (FIRST + SECOND if is_begun else FIRST)
    assert place.aliases == ({"champion": "2", "previous_champion": "1"} if is_begun else {"champion": "1"})
    assert place.run("recover").stdout.strip() == ""
    done = place.run("3")  # the way is free
    assert done.returncode == 0 and place.journal.champion(MODEL).version == "3", done.stderr


def test_killed_with_a_version_that_is_gone_the_next_process_aborts_and_says_so(place):
    assert place.run("2", "after PREPARED").returncode == -signal.SIGKILL
    (place.folder / "versions.txt").write_text("1 3")
    assert place.run("recover").stdout.strip() == "aborted promotion 3: the registry does not hold version 2 of quarkmed; the champion is unchanged"
    assert place.kinds == [*FIRST, ("PREPARED", "2"), ("ABORTED", "2")]
    assert place.aliases == {"champion": "1"}


def test_killed_while_mending_the_one_after_mends(place):
    assert place.run("2", "after PREPARED").returncode == -signal.SIGKILL
    assert place.run("recover", "after previous_champion").returncode == -signal.SIGKILL
    assert place.run("recover").stdout.strip() == "finished promotion 3: version 2 of quarkmed is champion"
    assert place.kinds == FIRST + SECOND


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
