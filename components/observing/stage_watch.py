"""What is kept of a stage's process while the stage runs: its log lines and its samples.

A stage hears nothing of it: the log follows its recorder, the samples come from a thread.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import QuarkmedError, is_told_to_stop
from components.observing.run_log import RunLog, process_log
from components.observing.sampler import UsageSampler
from components.observing.usage import rank_file

PROGRESS_SECONDS = 10.0  # between lines of progress in the log
Heard = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def watched_stage(name: str, folder: Path, *, sample_seconds: float, rank: int = 0) -> Iterator[Heard]:
    """Log that a stage began and how it ended, and sample what it uses meanwhile.

    Args:
        folder: its work folder.
        sample_seconds: between samples; 0: none.
        rank: which of several processes of the stage this is.
    Yields:
        What the stage's recorder is to hand every entry to.
    """
    log = process_log()
    if log is None:
        with UsageSampler(rank_file(folder, rank), period_seconds=sample_seconds):
            yield _nothing
        return
    with log.at_stage(name):
        started = time.monotonic()
        log.write("stage began")
        try:
            with UsageSampler(rank_file(folder, rank), period_seconds=sample_seconds):
                yield RecordLog(log).hear
        except BaseException as error:
            _log_failure(log, error, time.monotonic() - started)
            raise
        log.write("stage ended", seconds=round(time.monotonic() - started, 3))


class RecordLog:
    """Turns the entries of a stage's record into log lines: what a person should read, and progress now and then."""

    def __init__(self, log: RunLog, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._clock = clock
        self._next_progress = clock() + PROGRESS_SECONDS

    def hear(self, entry: Mapping[str, Any]) -> None:
        """Take one entry (components/recorder.py)."""
        kind = entry["kind"]
        if kind == "metrics":
            self.log.step = entry["step"]
        elif kind == "progress" and self._clock() >= self._next_progress:
            self._next_progress = self._clock() + PROGRESS_SECONDS
            self.log.write("progress", done=entry["done"], total=entry["total"], **{f"shown.{name}": value for name, value in entry["shown"].items()})
        elif kind == "resumed":
            self.log.step = entry["step"]
            self.log.write("went on from a checkpoint")
        elif kind in ("note", "warning"):
            self.log.write("note", level="warning" if kind == "warning" else "info", text=entry["text"])
        elif kind == "summary":
            self.log.write("summary", **{f"summary.{name}": value for name, value in entry["values"].items()})


def _log_failure(log: RunLog, error: BaseException, seconds: float) -> None:
    """Log how the stage failed; the words of an exception that is not ours may quote data and are left out."""
    is_stopped = is_told_to_stop(error)
    words = str(error) if isinstance(error, QuarkmedError) else ""
    log.write(
        "stage stopped" if is_stopped else "stage failed", level="warning" if is_stopped else "error", error=type(error).__name__, text=words, seconds=round(seconds, 3)
    )


def _nothing(entry: Mapping[str, Any]) -> None:
    pass
