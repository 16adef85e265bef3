"""What happens in a run, appended as JSON lines to runs/<id>/events.jsonl; the display, `status` and the summary read it.

Lines: {"time", "kind": "plan"|"stage"|"phase"|"note"|"decision"|"end", …}. A stage appears with status `running` and
again with how it ended; its folder leads to its record. The flow's log, runs/<id>/logs/flow.jsonl, says the same.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from components.observing.run_log import SUFFIX, Level, RunLog
from components.pipeline.plan import PlannedStage

RUNS = "runs"  # the folder of all runs
EVENTS = "events.jsonl"
StageStatus = Literal["running", "ran", "restored", "skipped", "resumed", "failed", "stopped"]


class RunEvents:
    """Appends to a run's events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / EVENTS
        self.log = RunLog(folder / "logs" / f"flow{SUFFIX}", run=folder.name)
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def listen(self, function: Callable[[Mapping[str, Any]], None]) -> None:
        """Have a function called with every event that is noted from now on."""
        self._listeners.append(function)

    def plan(self, stages: list[PlannedStage]) -> None:
        """Note what the run is going to do."""
        self._append({"kind": "plan", "stages": [asdict(stage) for stage in stages]})

    def stage(self, name: str, status: StageStatus, *, reason: str, seconds: float = 0.0, folder: str = "") -> None:
        """Note that a stage began or how it ended; `seconds` is its own work."""
        self._append({"kind": "stage", "name": name, "status": status, "reason": reason, "seconds": round(seconds, 3), "folder": folder})

    def phase(self, text: str) -> None:
        """Note what the run does beside stages (starting services, registering)."""
        self._append({"kind": "phase", "text": text})

    def note(self, text: str) -> None:
        """Note a sentence a person should read at the end."""
        self._append({"kind": "note", "text": text})

    def decision(self, decision: Mapping[str, Any]) -> None:
        """Note the promotion decision."""
        self._append({"kind": "decision", **decision})

    def end(self, outcome: str, *, cause: str = "") -> None:
        """Note how the run ended (finished, failed, stopped or killed) and, where it did not finish, why."""
        self._append({"kind": "end", "outcome": outcome, "cause": cause})

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **entry}, ensure_ascii=False) + "\n")
        _write_log(self.log, entry)
        for listener in self._listeners:
            listener(entry)


def outcome_of(entry: Mapping[str, Any]) -> tuple[str, Level]:
    """Return how what an event tells of stands or ended ("" where it tells of no such thing), and how grave that is."""
    how = str(entry.get("status", entry.get("outcome", "")))
    return how, "error" if how == "failed" else "warning" if how in ("stopped", "killed") else "info"


def planned_actions(entry: Mapping[str, Any]) -> dict[str, int]:
    """Return how many stages a plan runs, may run and skips."""
    actions = [stage["action"] for stage in entry["stages"]]
    return {action: actions.count(action) for action in ("run", "maybe", "skip")}


def _write_log(log: RunLog, entry: Mapping[str, Any]) -> None:
    """Write an event to the flow's log; of plan and decision what fits a line."""
    kind, (how, level) = entry["kind"], outcome_of(entry)
    if kind == "stage":
        log.write(f"stage {how}", level=level, stage=entry["name"], text=entry["reason"], seconds=entry["seconds"])
    elif kind == "end":
        log.write(f"run {how}", level=level, text=entry["cause"])
    elif kind == "plan":
        log.write("plan", **planned_actions(entry))
    elif kind == "decision":
        log.write("decision", decision=entry.get("decision"), version=entry.get("version"))
    else:
        log.write(kind, text=entry.get("text", ""))


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return a run's events; a torn last line is left out."""
    path = folder / EVENTS
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def last_end(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the event a run ended with; None where it has not, or went on since (in a workspace of its own a run keeps its id)."""
    for event in reversed(events):
        if event["kind"] == "end":
            return event
        if event["kind"] in ("plan", "stage", "phase"):
            return None
    return None


def stage_endings(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last event of each stage, in the order they first appeared."""
    endings: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["kind"] == "stage":
            endings[event["name"]] = event
    return list(endings.values())
