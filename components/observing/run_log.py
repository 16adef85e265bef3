"""The log of one process of a run: JSON lines under runs/<id>/logs/, for machines; people read the terminal.

    {"time": "2026-11-25T21:45:42.123Z", "level": "info", "run": "…", "process": "stages", "pid": 4711,
     "stage": "ift", "step": 120, "rank": 0, "event": "progress", …}

A worker, a rank or a pod finds its file by the environment that whoever started it gave (`log_environment`); without, nothing
is logged. No patient text: our own events carry ids, counts and sentences made of them; of what another library logs only
who, where and how grave is kept, for its words may quote what it was given. A line that cannot be written is lost: a
log never stops a run.
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

LOG_FILE, RUN = "QUARKMED_LOG", "QUARKMED_RUN"  # in the environment of a process of a run
SUFFIX = ".jsonl"
LEVELS = ("info", "warning", "error")
Level = Literal["info", "warning", "error"]
Value = str | int | float | bool | None


class RunLog:
    """Appends to one file; `stage` and `step` are what the process is at."""

    def __init__(self, path: Path, *, run: str, rank: int | None = None, now: Callable[[], float] = time.time) -> None:
        """Nothing is made until the first line. Args: rank: among the processes of one stage; None where it is alone."""
        self.path = path
        self.run = run
        self.rank = rank
        self.stage: str | None = None
        self.step: int | None = None
        self._now = now

    def write(self, event: str, *, level: Level = "info", **values: Value) -> None:
        """Append an event; values: ids, counts, or sentences without patient text."""
        line = {
            "time": moment(self._now()), "level": level, "run": self.run, "process": self.path.stem, "pid": os.getpid(),
            "stage": self.stage, "step": self.step, "rank": self.rank, "event": event,
        }  # fmt: skip
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:  # one write a line, so that lines of two processes never mix
                stream.write(json.dumps({**line, **values}, ensure_ascii=False) + "\n")

    @contextlib.contextmanager
    def at_stage(self, name: str) -> Iterator[None]:
        """Name the stage in every line of the block."""
        self.stage, self.step = name, None
        try:
            yield
        finally:
            self.stage, self.step = None, None


class ForeignRecords(logging.Handler):
    """Logs that a library had something to say: its logger, the line of its code and the type of the exception, not its words."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(level=logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record without its words."""
        failure = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self.log.write("library", level=level, logger=record.name, where=f"{record.filename}:{record.lineno}", error=failure)


def log_environment(text_log: Path) -> dict[str, str]:
    """Return the variables by which a process of a run finds its log: beside the file its printed words go to."""
    run = text_log.parent.parent.name if text_log.parent.name == "logs" else ""
    return {LOG_FILE: str(text_log.with_suffix(SUFFIX)), RUN: run}


def open_process_log(environment: Mapping[str, str] = os.environ) -> RunLog | None:
    """Return the log the environment names, None where it names none; called once, where a process starts.

    Of several processes of one stage (torchrun) rank 0 logs where a lone one does, each other rank in a file of its own. What
    libraries log goes to stderr as before.
    """
    global _opened
    if not environment.get(LOG_FILE):
        return None
    path, rank = Path(environment[LOG_FILE]), None
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        rank = int(environment["RANK"])
        path = path.with_name(f"{path.stem}-rank-{rank}{SUFFIX}") if rank else path
    _opened = RunLog(path, run=environment.get(RUN, ""), rank=rank)
    root = logging.getLogger()
    if not root.handlers and logging.lastResort is not None:
        root.addHandler(logging.lastResort)
    root.addHandler(ForeignRecords(_opened))
    return _opened


def process_log() -> RunLog | None:
    """Return the log this process opened, None where it has none."""
    return _opened


def moment(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_logs(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of all processes of a run in the order of their times; a torn line is left out.

    Args:
        folder: runs/<id>/logs.
    """
    lines = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(text))
    return sorted(lines, key=lambda line: str(line["time"]))


_opened: RunLog | None = None
