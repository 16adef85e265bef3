"""A process that promotes, and dies where it is told: `python promoting_process.py FOLDER VERSION|ten [POINT|insisting]`.

The aliases lie in a JSON file, one atomic write each, as they are rows of a database in MLflow; the journal is the real one.
"""

import json
import os
import signal
import sys
from pathlib import Path

from components.registry.journal import Entry, Journal, PromotionConflict
from components.registry.promotion import CHAMPION, Candidate, promote
from components.storage.files import write_json

MODEL = "quarkmed"


def journal_address(folder: Path) -> str:
    return f"sqlite:///{folder / 'journal.db'}"


class FileAliases:
    """Aliases in a file; asked for `champion` after it was set, it has read back."""

    def __init__(self, folder: Path, die_at: str = "") -> None:
        self.folder = folder
        self.die_at = die_at
        self.was_set = False

    @property
    def aliases(self) -> dict[str, str]:
        path = self.folder / "aliases.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def get_alias(self, alias: str) -> str | None:
        found = self.aliases.get(alias)
        if self.was_set and alias == CHAMPION:
            reached("after reading back", self.die_at)
        return found

    def set_alias(self, alias: str, version: str) -> None:
        write_json(self.folder / "aliases.json", {**self.aliases, alias: version})
        self.was_set = alias == CHAMPION
        reached(f"after {alias}", self.die_at)

    def has_version(self, version: str) -> bool:
        return version in (self.folder / "versions.txt").read_text().split()


class DyingJournal(Journal):
    """The journal, which may die before or after it writes an entry."""

    die_at = ""

    def _insert(self, entry: Entry) -> Entry:
        reached(f"before {entry.kind}", self.die_at)
        entry = super()._insert(entry)
        reached(f"after {entry.kind}", self.die_at)
        return entry


def reached(point: str, die_at: str) -> None:
    if point == die_at:
        os.kill(os.getpid(), signal.SIGKILL)


def promote_version(folder: Path, version: str, *, expected: str | None, die_at: str = "") -> None:
    journal = DyingJournal(journal_address(folder))
    journal.die_at = die_at
    promote(journal, FileAliases(folder, die_at), Candidate(MODEL, version, f"key-{version}", {"reasons": []}), expected_champion=expected)


def present(folder: Path) -> str | None:
    champion = Journal(journal_address(folder)).champion(MODEL)
    return champion.version if champion else None


def promote_ten(folder: Path, *, insists: bool) -> list[int]:
    """Fork ten processes that promote ten versions once a pipe is closed; return their exit codes: 0 promoted, 1 refused."""
    Journal(journal_address(folder))
    wait, go = os.pipe()
    children = []
    for number in range(10):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(wait, 1)
            while True:
                try:
                    promote_version(folder, f"v{number}", expected=present(folder) if insists else None)
                    os._exit(0)
                except PromotionConflict:
                    if not insists:
                        os._exit(1)
        children.append(child)
    os.close(wait)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    place, what, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    if what == "ten":
        print(promote_ten(place, insists=how == "insisting"))
    else:
        promote_version(place, what, expected=present(place), die_at=how)
