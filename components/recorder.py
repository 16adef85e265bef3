"""The record of a stage: what it wants seen, appended as JSON lines with its own time stamps.

The display and `tracking/` follow the file, so neither a crash nor a dead server loses or doubles anything. A stage
that goes on from a checkpoint first rewinds the record to the position the checkpoint stored.

Metrics whose name begins with `seconds_` are timings, what comes after a slash names whose (`seconds_update/helpfulness`).

Lines: {"time": seconds, "kind": "metrics"|"progress"|"table"|"file"|"note"|"warning"|"summary"|"resumed", ...}.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RECORD = "record.jsonl"
TIMING = "seconds_"  # begins the name of every metric that is a timing


class Recorder:
    """Appends to `<folder>/record.jsonl`; files and tables lie beside it under `files/`."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time, heard: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """Args: heard: is handed every entry as well (the process's log)."""
        self.folder = folder
        self._heard = heard
        self.path = folder / RECORD
        self._now = now
        self._last_progress = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(self.path)

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Record numbers at a step (an optimiser step, a trial, an epoch)."""
        self._append({"kind": "metrics", "step": step, "values": {name: float(value) for name, value in values.items()}})

    def summary(self, values: Mapping[str, float]) -> None:
        """Record final numbers of the stage; what the table at the end and the registry show."""
        self._append({"kind": "summary", "values": {name: float(value) for name, value in values.items()}})

    def progress(self, done: int, total: int, **shown: float) -> None:
        """Record how far the stage is; `shown` are the one or two numbers a person watches (loss, reward)."""
        now = self._now()
        if done < total and now - self._last_progress < 0.2:
            return
        self._last_progress = now
        self._append({"kind": "progress", "done": done, "total": total, "shown": {name: float(value) for name, value in shown.items()}})

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Record a small table (de-identified text only) as JSON lines under `files/tables/`."""
        target = self.folder / "files" / "tables" / f"{name}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        self._append({"kind": "table", "name": name, "path": target.relative_to(self.folder).as_posix(), "rows": len(rows)})

    def file(self, name: str, source: Path) -> None:
        """Record a copy of a file (a plot, a report) under `files/`."""
        target = self.folder / "files" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        self._append({"kind": "file", "name": name, "path": target.relative_to(self.folder).as_posix()})

    def note(self, text: str) -> None:
        """Record a sentence a person should read (never patient text: ids and counts)."""
        self._append({"kind": "note", "text": text})

    def warning(self, text: str) -> None:
        """Record a sentence a person is shown at the end of the run, not only on the stage's page."""
        self._append({"kind": "warning", "text": text})

    def position(self) -> int:
        """Return the record's length in bytes, to be stored in a checkpoint."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, position: int, *, step: int) -> None:
        """Cut the record back to a checkpoint's position and note that the stage was resumed there."""
        if self.path.exists():
            os.truncate(self.path, position)
        self._append({"kind": "resumed", "step": step})

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps({"time": self._now(), **entry}, ensure_ascii=False) + "\n"
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line)
        if self._heard is not None:
            self._heard(entry)


class SilentRecorder(Recorder):
    """Keeps nothing: what a rank that does not record is given."""

    def __init__(self, *, heard: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.folder = Path(tempfile.gettempdir())  # named, never written
        self.path = self.folder / RECORD
        self._heard = heard
        self._now, self._last_progress = time.time, 0.0

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Keep nothing."""

    def file(self, name: str, source: Path) -> None:
        """Keep nothing."""

    def position(self) -> int:
        """Return 0: nothing is kept."""
        return 0

    def rewind(self, position: int, *, step: int) -> None:
        """Keep nothing."""

    def _append(self, entry: dict[str, Any]) -> None:
        if self._heard is not None:
            self._heard(entry)


def read_record(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a record; a torn last line (a crash in mid-write) is left out."""
    path = folder / RECORD
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def without_timings(values: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics in which two runs of the same work agree to the bit: all that are not timings."""
    return {name: value for name, value in values.items() if not name.startswith(TIMING)}


def read_warnings(folder: Path) -> list[str]:
    """Return the warnings of a record."""
    return [entry["text"] for entry in read_record(folder) if entry["kind"] == "warning"]


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
