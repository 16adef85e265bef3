"""What a person sees while a run goes on: the stages, the one at work with its bar, loss or reward, and time left.

Follows the run's events and the stage's record from a thread of its own; on anything but a terminal it prints a line
where a stage begins and ends.
"""

import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from components.pipeline.events import read_events, stage_endings
from components.pipeline.live_progress import last_progress

PERIOD_SECONDS = 0.4
PICTURE_SECONDS = 1.0  # drawing 19 stages takes some 10 ms of a core that a stage may want
STYLES = {"ran": "green", "resumed": "green", "restored": "cyan", "skipped": "dim", "running": "bold yellow", "failed": "bold red", "stopped": "yellow", "waiting": "dim"}


class LiveDisplay:
    """A context manager around a run."""

    def __init__(self, folder: Path, *, console: Console) -> None:
        self.folder = folder
        self.console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._said: set[tuple[str, str]] = set()

    def __enter__(self) -> "LiveDisplay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        if not self.console.is_terminal:
            while not self._stop.wait(PERIOD_SECONDS):
                self._say_lines()
            self._say_lines()
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while not self._stop.wait(PICTURE_SECONDS):
                live.update(render_run(read_events(self.folder), now=time.time()), refresh=True)

    def _say_lines(self) -> None:
        for event in read_events(self.folder):
            mark = (event["kind"], f"{event.get('name') or event.get('text')}:{event.get('status')}")
            if event["kind"] not in ("stage", "phase") or mark in self._said:
                continue
            self._said.add(mark)
            if event["kind"] == "phase":
                self.console.print(f"… {event['text']}", highlight=False)
            elif event["status"] != "running":
                self.console.print(f"{event['name']}: {event['status']} ({event['reason']}) {event['seconds']:.1f} s", highlight=False)


def render_run(events: list[dict[str, Any]], *, now: float) -> Group:
    """Return the picture of a run at a moment, from its events and the record of the stage at work."""
    known = {item["name"]: item for item in stage_endings(events)}
    planned = next((event["stages"] for event in events if event["kind"] == "plan"), [])
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    current = None
    for stage in planned:
        event = known.get(stage["name"])
        status = event["status"] if event else "waiting"
        if status == "running":
            current = event
        seconds = "" if event is None else f"{now - event['time']:.0f} s" if status == "running" else f"{event['seconds']:.0f} s" if event["seconds"] else ""
        table.add_row(Text(stage["name"], style=STYLES[status]), Text(status, style=STYLES[status]), Text(seconds, style=STYLES[status]), _work(event, now))
    phases = [event["text"] for event in events if event["kind"] == "phase"]
    footer = Text(time_left_text(planned, known, current, now=now) if planned else phases[-1] if phases else "", style="dim")
    if planned and phases and current is None:
        footer = Text(phases[-1], style="dim")
    return Group(table, footer)


def time_left_text(planned: list[dict[str, Any]], known: dict[str, dict[str, Any]], current: dict[str, Any] | None, *, now: float) -> str:
    """Return "about 4 min left" from the last durations of the stages still to come; nothing where they never ran."""
    seconds = 0.0
    for stage in planned:
        if stage["action"] == "skip" or (stage["name"] in known and stage is not current and known[stage["name"]]["status"] != "running"):
            continue
        if stage["last_seconds"] is None:
            return ""
        seconds += float(stage["last_seconds"])
    if current is not None:
        seconds -= min(now - current["time"], next((s["last_seconds"] for s in planned if s["name"] == current["name"] and s["last_seconds"]), 0.0))
    return f"about {_duration(seconds)} left" if seconds > 1 else ""


def _work(event: dict[str, Any] | None, now: float) -> Any:
    """Return the bar of the stage at work, or why another one ended as it did."""
    if event is None:
        return Text("")
    if event["status"] != "running":
        return Text(event["reason"][:70], style="dim")
    progress = last_progress(Path(event["folder"])) if event["folder"] else None
    if progress is None or not progress["total"]:
        return Text(event["reason"][:70], style="dim")
    done, total, spent = progress["done"], progress["total"], now - event["time"]
    left = f"{_duration(spent * (total - done) / done)} left" if 0 < done < total else ""
    shown = "  ".join(f"{name} {value:.3f}" for name, value in progress["shown"].items())
    row = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    row.add_row(ProgressBar(total=total, completed=done, width=28), f"{done}/{total}", Text(shown, style="magenta"), Text(left, style="dim"))
    return row


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
