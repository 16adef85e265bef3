"""What happens in a run, appended as JSON lines to runs/<id>/events.jsonl; the display, `status` and the summary read it.

Lines: {"time", "kind": "plan"|"stage"|"phase"|"note"|"decision"|"end", …}. A stage appears with status `running` and
again with how it ended; its folder leads to its record.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from components.pipeline.plan import PlannedStage

EVENTS = "events.jsonl"
StageStatus = Literal["running", "ran", "restored", "skipped", "resumed", "failed", "stopped"]


class RunEvents:
    """Appends to a run's events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / EVENTS
        folder.mkdir(parents=True, exist_ok=True)

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

    def end(self, outcome: str) -> None:
        """Note how the run ended: finished, failed or stopped."""
        self._append({"kind": "end", "outcome": outcome})

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": time.time(), "pid": os.getpid(), **entry}, ensure_ascii=False) + "\n")


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return a run's events; a torn last line is left out."""
    path = folder / EVENTS
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def stage_endings(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last event of each stage, in the order they first appeared."""
    endings: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["kind"] == "stage":
            endings[event["name"]] = event
    return list(endings.values())
