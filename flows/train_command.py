"""`quarkmed train`: one recipe from its file to a tuned model, with a live bar and a report of where the time went."""

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from components.observing.usage import stage_usage
from components.pipeline.live_progress import last_progress
from components.recorder import read_warnings
from components.training.preemption import stop_signals
from components.training.recipes.running import (
    LOGS,
    MODEL,
    RECORD,
    PreparedRun,
    RecipeRun,
    follow_recipe,
    prepare_recipe,
    run_recipe,
)
from flows.recipe_traces import check_mlflow, log_to_mlflow, watching

MEBIBYTE = 1 << 20
PERIOD_SECONDS = 0.4
GRACE_SECONDS = 20.0  # for the step at work and its checkpoint, once told to stop
LINE_EVERY = 10  # of the whole, in percent, where there is no terminal
PARTS = ("generate", "score", "old", "reference", "policy", "optimiser", "update", "sync", "checkpoint")


def train(path: Path, *, console: Console, project: Path | None = None) -> None:
    """Prepare a recipe, run it under the display and report; beside process 0 of several, run its part and say nothing.

    Args:
        project: whose MLflow is told of the run once it has ended; None: none.
    Raises:
        QuarkmedError: bad input, a failure of the training, or Preempted on SIGTERM or Ctrl-C, with the step at work saved.
    """
    prepared = prepare_recipe(path)
    is_main = prepared.processes.is_main
    if is_main:
        if project is not None:
            check_mlflow(project)
        _say_start(prepared, path, console)
    watch = watching(prepared)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from components.launch.torch_setup import prepare_torch
    from components.training.engines.ranks import leave_ranks

    prepare_torch(prepared.threads)
    with stop_signals(signal.SIGTERM, signal.SIGINT, grace_seconds=GRACE_SECONDS):
        if not is_main:
            follow_recipe(prepared, watch=watch)
            leave_ranks()
            return
        with TrainingDisplay(prepared.output / RECORD, console=console):
            run = run_recipe(prepared, watch=watch)
    leave_ranks()
    report(run, console)
    if project is not None:
        logged = log_to_mlflow(project, path, prepared, run)
        console.print(f"logged to MLflow as {logged}; `quarkmed up` shows its page", highlight=False)


class TrainingDisplay:
    """A context manager around a run: a bar on a terminal, elsewhere a line for every tenth of the steps."""

    def __init__(self, record: Path, *, console: Console) -> None:
        self.record = record
        self.console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._shown = -1

    def __enter__(self) -> "TrainingDisplay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _follow(self) -> None:
        if not self.console.is_terminal:
            while not self._stop.wait(PERIOD_SECONDS):
                self._say_line()
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            while not self._stop.wait(PERIOD_SECONDS):
                live.update(progress_row(self.record))

    def _say_line(self) -> None:
        entry = last_progress(self.record)
        if entry is None or entry["done"] * 100 // entry["total"] < self._shown + LINE_EVERY:
            return
        self._shown = entry["done"] * 100 // entry["total"]
        shown = "  ".join(f"{name} {value:.3f}" for name, value in entry["shown"].items())
        self.console.print(f"step {entry['done']} of {entry['total']}  {shown}", highlight=False)


def progress_row(record: Path) -> Table:
    """Return the bar of a run from the newest progress of its record."""
    row = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    entry = last_progress(record)
    if entry is None:
        row.add_row(Text("loading the model", style="dim"))
        return row
    shown = "  ".join(f"{name} {value:.3f}" for name, value in entry["shown"].items())
    row.add_row(ProgressBar(total=entry["total"], completed=entry["done"], width=40), f"{entry['done']}/{entry['total']}", Text(shown, style="magenta"))
    return row


def report(run: RecipeRun, console: Console) -> None:
    """Print what came of a run: first → last, where the time went, notes, and where the model lies."""
    console.print(f"{'finished before; nothing to do: ' if run.was_finished else ''}{result_line(run.summary)}", highlight=False)
    parts = {name: run.summary[f"seconds_{name}"] for name in PARTS if f"seconds_{name}" in run.summary}
    if parts:
        whole = max(run.seconds, sum(parts.values()), 1e-9)  # of a resumed run only the parts are known over all attempts
        table = Table("where the time went", "seconds", "share", "tokens/s", header_style="bold", pad_edge=False)
        for name, seconds in parts.items():
            table.add_row(name, f"{seconds:.1f}", f"{seconds / whole:.0%}", _rate(name, seconds, run.summary))
        rest = whole - sum(parts.values())
        table.add_row("loading, rest", f"{rest:.1f}", f"{rest / whole:.0%}", "")
        console.print(table)
        if floors := {name: run.summary[f"seconds_floor_{name}"] for name in ("generate", "update") if f"seconds_floor_{name}" in run.summary}:
            said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in floors.items())
            console.print(f"floors, what these tokens need at the speed this machine was measured with: {said} (reference and policy are one update)", highlight=False, soft_wrap=True)
    if (used := stage_usage(run.output / RECORD)) is not None:
        energy = "" if used.watt_hours is None else f", {used.watt_hours:.2f} Wh"
        console.print(f"used: {used.cpu_seconds:.0f} s of processor, {used.peak_bytes / MEBIBYTE:.0f} MiB at most{energy}", highlight=False)
    for warning in read_warnings(run.output / RECORD):
        console.print(f"note: {warning}", highlight=False)
    console.print(f"model: {_shown(run.output / MODEL)}\nrecord: {_shown(run.output / RECORD)}", highlight=False, soft_wrap=True)
    if (run.output / LOGS).is_dir():
        console.print(f"log: {_shown(run.output / LOGS)}", highlight=False, soft_wrap=True)


def result_line(summary: Mapping[str, float]) -> str:
    """Return a run's main figure, first → last, in one line."""
    if "reward_first" in summary:
        unscored = int(summary.get("unscored_answers", 0))
        empty = int(summary.get("steps_without_signal", 0))
        return (
            f"reward {summary['reward_first']:.3f} → {summary['reward_last']:.3f} (mean over the first and last tenth of the steps)"
            + (f"; {unscored} answers unscored" if unscored else "")
            + (f"; {empty} steps without a group to learn from" if empty else "")
        )
    if "validation_loss_first" in summary:
        return f"validation loss {summary['validation_loss_first']:.3f} → {summary['validation_loss_last']:.3f} nats a token"
    if "accuracy" in summary:
        held_out = f", on the validation pairs {summary['validation_accuracy']:.3f}" if "validation_accuracy" in summary else ""
        return f"accuracy on the training pairs {summary['accuracy']:.3f}{held_out}"
    return f"loss {summary['loss']:.3f} nats a token"


def _rate(part: str, seconds: float, summary: Mapping[str, float]) -> str:
    """Return the tokens a second of a part: of sampled tokens, or of tokens passed forward and back."""
    tokens = {"generate": "sampled_tokens", "reference": "packed_tokens", "policy": "packed_tokens", "update": "tokens"}.get(part, "")
    return f"{summary[tokens] / seconds:,.0f}" if tokens in summary and seconds > 0 else ""


def _say_start(prepared: PreparedRun, path: Path, console: Console) -> None:
    recipe = prepared.recipe
    console.print(f"{path}: {recipe.kind} on {prepared.inputs.count} lines of {_shown(Path(recipe.data))}, threads: {prepared.threads}{_spread(prepared)}", highlight=False, soft_wrap=True)


def _spread(prepared: PreparedRun) -> str:
    count = prepared.processes.count
    return f" on each of {count} processes ({prepared.recipe.engine.strategy})" if count > 1 else ""


def _shown(path: Path) -> str:
    """Return a path as a person here would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
