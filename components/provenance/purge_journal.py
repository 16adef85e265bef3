"""What was purged, when, by whom: var/lineage/purges.jsonl. Names, digests and sizes, never text; lines are only added.

    {"kind": "begun", "purge": 3, "time": …, "who": "ann@lab", "ids": […], "saw": {version: {model: effect}}, "copies": […]}
    {"kind": "gone", "purge": 3, "number": 17, "found": true}        copy 17 of that purge is away; found: it was there
    {"kind": "ended", "purge": 3, "time": …}

All that will be deleted is written down before the first of it goes, so that a purge that was killed is gone on with even
where what named the copies is away already. A torn last line (a kill in mid-write) counts as not written.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.provenance.stored_copies import Copy

JOURNAL = "var/lineage/purges.jsonl"


@dataclass
class Purge:
    """One purge; `gone` are the numbers of its copies that are away."""

    number: int
    time: float
    who: str
    ids: tuple[str, ...]
    saw: Mapping[str, Mapping[str, str]]
    copies: tuple[Copy, ...]
    gone: set[int] = field(default_factory=set)
    is_ended: bool = False

    @property
    def left(self) -> list[int]:
        """The numbers of the copies still to be deleted."""
        return [number for number in range(len(self.copies)) if number not in self.gone]


class PurgeJournal:
    """The journal of a project; one writer at a time (the caller holds the workspace)."""

    def __init__(self, root: Path) -> None:
        self.path = root / JOURNAL

    def purges(self) -> list[Purge]:
        """Return every purge, oldest first.

        Raises:
            StorageError: a line in the middle is not one of the journal.
        """
        content = self.path.read_bytes() if self.path.is_file() else b""
        found: dict[int, Purge] = {}
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
            try:
                _read(json.loads(line), found)
            except (ValueError, KeyError, TypeError):
                raise StorageError(f"{self.path}:{number}: not a line of the journal of purges; mend or remove the line, then run again") from None
        return list(found.values())

    def begin(self, *, who: str, ids: Iterable[str], saw: Mapping[str, Mapping[str, str]], copies: Iterable[Copy]) -> Purge:
        """Write down what will be deleted."""
        purge = Purge(max((item.number for item in self.purges()), default=0) + 1, time.time(), who, tuple(ids), saw, tuple(copies))
        self._append(
            {
                "kind": "begun", "purge": purge.number, "time": purge.time, "who": who, "ids": list(purge.ids),
                "saw": {name: dict(effects) for name, effects in saw.items()}, "copies": [copy.row() for copy in purge.copies],
            }
        )  # fmt: skip
        return purge

    def note_gone(self, purge: Purge, number: int, *, found: bool) -> None:
        """Note that a copy is away; `found` says whether it was there."""
        self._append({"kind": "gone", "purge": purge.number, "number": number, "found": found})
        purge.gone.add(number)

    def end(self, purge: Purge) -> None:
        """Note that nothing of it is left."""
        self._append({"kind": "ended", "purge": purge.number, "time": time.time()})
        purge.is_ended = True

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.is_file() else "w+b") as stream:
                content = stream.read()
                stream.truncate(content.rfind(b"\n") + 1)
                stream.seek(0, os.SEEK_END)
                stream.write(json.dumps(line, ensure_ascii=False, sort_keys=True).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written ({error.strerror}); free the disk or mend the folder's rights, then run again") from None


def _read(line: Mapping[str, Any], found: dict[int, Purge]) -> None:
    number = int(line["purge"])
    if line["kind"] == "begun":
        found[number] = Purge(number, line["time"], line["who"], tuple(line["ids"]), line["saw"], tuple(Copy(**row) for row in line["copies"]))
    elif line["kind"] == "gone":
        found[number].gone.add(int(line["number"]))
    elif line["kind"] == "ended":
        found[number].is_ended = True
    else:
        raise ValueError(line["kind"])
