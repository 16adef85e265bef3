"""Run the steps of all seeds, one after another in this process, and show how far they are.

A terminal shows the step at work with its bar and the time left; anything else gets one line a step.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.controls.steps import Step
from components.pipeline.durations import note_duration, read_durations
from components.pipeline.live_progress import last_progress
from components.pipeline.running import FINISHED

PERIOD_SECONDS = 0.5


def run_steps(
    seeds: Iterable[tuple[int, list[Step]]], *, project: Path, folder: Path, console: Console, check: Callable[[], None]
) -> None:
    """Run every step, or take over what it finished before; note how long each kind of step took.

    Args:
        project: its durations say how long stages take that the bench has not run yet.
        folder: of the bench; keeps the durations of its own steps.
        check: called before each step and after the last; raises where going on makes no sense.
    """
    todo = [(seed, step) for seed, steps in seeds for step in steps]
    with StepDisplay(console, total=len(todo)) as display:
        for number, (seed, step) in enumerate(todo):
            check()
            work = step.make()
            left = time_left([later for _, later in todo[number:]], read_durations(folder), read_durations(project))
            display.begin(f"seed {seed} {step.name}", work.record_folder, left)
            was_finished = (work.record_folder / FINISHED).is_file()
            done = work.run()
            if not done.is_resumed:
                note_duration(folder, step.name, done.seconds)
            display.end("taken over" if was_finished and done.is_resumed else f"{done.seconds:.1f} s{', resumed' if done.is_resumed else ''}")
        check()


def time_left(steps: list[Step], own: dict[str, float], stages: dict[str, float]) -> str:
    """Return "about 34 min left" from last durations; "at least" where some step was never timed; nothing if none was."""
    known = [seconds for step in steps if (seconds := own.get(step.name, stages.get(step.like or ""))) is not None]
    if not known:
        return ""
    word = "about" if len(known) == len(steps) else "at least"
    return f"{word} {sum(known) / 60:.0f} min left"


class StepDisplay:
    """A context manager; `begin` and `end` frame each step."""

    def __init__(self, console: Console, *, total: int) -> None:
        self.console, self.total = console, total
        self._number, self._name, self._record = 0, "", Path()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._all: TaskID = self._bars.add_task("controls", total=total, note="")
        self._step: TaskID = self._bars.add_task("", total=1, note="")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "StepDisplay":
        self._bars.start()
        if self.console.is_terminal:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._bars.stop()

    def begin(self, name: str, record_folder: Path, left: str) -> None:
        """Show a step as the one at work."""
        self._number, self._name, self._record = self._number + 1, name, record_folder
        self._bars.reset(self._step, total=1, description=name, note="")
        self._bars.update(self._all, completed=self._number - 1, note=left)

    def end(self, outcome: str) -> None:
        """Print the step's line."""
        self.console.print(f"[{self._number}/{self.total}] {self._name}: {outcome}", highlight=False, markup=False)

    def _follow(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            progress = last_progress(self._record)
            if progress and progress["total"]:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in progress["shown"].items())
                self._bars.update(self._step, completed=progress["done"], total=progress["total"], note=shown)
