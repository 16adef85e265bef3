"""How each run in runs/ ended, told from its events; a run whose process is gone without a word was killed.

A run says what it is doing and ends with one event. Where that event is missing, the process that wrote the last one is
looked for, on the machine it ran on; a run of another machine, or of one that still runs, is taken to be at work.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from components.pipeline.events import RunEvents, last_end, read_events, stage_endings
from flows.run_folder import all_runs, newest_run

AT_WORK = "at work"
KILLED = "killed"
OUTCOMES = (AT_WORK, "finished", "failed", "stopped", KILLED)
CLOCK_SECONDS = 2.0  # by which a process's start and an event's time may disagree


@dataclass(frozen=True)
class RunState:
    """`outcome` is one of `OUTCOMES`; `cause` is why it did not finish, `stage` what it was at; times in seconds since the epoch, 0: none noted."""

    run: str
    outcome: str
    stage: str
    cause: str
    began: float
    ended: float
    is_closed: bool

    @property
    def words(self) -> str:
        """Say it in a line."""
        where = f" in stage {self.stage}" if self.stage and self.outcome != "finished" else ""
        return f"{self.outcome}{where}{f': {self.cause}' if self.cause else ''}"


def run_state(folder: Path, *, elsewhere: bool = False) -> RunState:
    """Return how a run stands; `elsewhere`: one of another machine that has not ended counts as killed."""
    events = read_events(folder)
    end = last_end(events)
    unfinished = [item["name"] for item in stage_endings(events) if item["status"] in ("running", "failed", "stopped")]
    began = events[0]["time"] if events else 0.0
    if end is not None:
        return RunState(folder.name, end["outcome"], (unfinished or [""])[-1], end.get("cause", ""), began, end["time"], is_closed=True)
    is_at_work = bool(events) and may_be_alive(events[-1], elsewhere=elsewhere)
    ended = events[-1]["time"] if events and not is_at_work else 0.0
    return RunState(folder.name, AT_WORK if is_at_work else KILLED, (unfinished or [""])[-1], "", began, ended, is_closed=False)


def newest_state(root: Path) -> RunState | None:
    """Return how the run stands that began last, None where there is none."""
    folder = newest_run(root)
    return None if folder is None else run_state(folder)


def end_killed_runs(root: Path, *, elsewhere: bool = False) -> list[RunState]:
    """Write the end that killed runs could not write themselves, and return them; only the holder of the folder's lock may call it.

    Args:
        elsewhere: whether runs of other machines count as killed.
    """
    killed = [(folder, state) for folder in all_runs(root) if not (state := run_state(folder, elsewhere=elsewhere)).is_closed and state.outcome == KILLED]
    for folder, state in killed:
        where = f" in stage {state.stage}" if state.stage else ""
        RunEvents(folder).end(KILLED, cause=f"its process ended without a word{where} (kill -9, memory, or the machine)")
    return [state for _, state in killed]


def may_be_alive(event: dict[str, Any], *, elsewhere: bool = False) -> bool:
    """Say whether the process that wrote an event still runs, or ran where we cannot look; this very process is at no earlier run."""
    if event.get("host", socket.gethostname()) != socket.gethostname():
        return not elsewhere
    try:
        process = psutil.Process(int(event["pid"]))
        return process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and process.create_time() < event["time"] + CLOCK_SECONDS
    except (psutil.Error, KeyError, ValueError):
        return False
