"""What comes of the bench: a stored file, a table, and one last line of JSON."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import cpu_text, git_state
from components.evaluation.report.stored_controls import ControlRow, StoredControls
from components.settings.settings import Settings
from components.storage.files import write_json


def make_outcome(
    rows: Sequence[ControlRow], *, project: Path, seeds: Sequence[Settings], settings_digest: str, profile: str | None, details: dict[str, Any]
) -> StoredControls:
    """Return the rows with where, when and on what they were measured."""
    git = git_state(project)
    return StoredControls(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(), cpu=cpu_text(), threads=seeds[0].run.threads, git_sha=git.sha, is_clean=git.is_clean,
        profile=profile, settings=settings_digest, confidence=seeds[0].evaluate.confidence, seeds=tuple(settings.run.seed for settings in seeds),
        rows=tuple(rows), details=details,
    )  # fmt: skip


def store_outcome(outcome: StoredControls, folder: Path) -> Path:
    """Write `controls-<date>.json`; one of the same day is replaced."""
    path = folder / f"controls-{outcome.date}.json"
    write_json(path, outcome.model_dump(mode="json"))
    return path


def print_table(outcome: StoredControls, console: Console) -> None:
    """Print one row a control: each seed's difference with its interval over items, the mean with its interval over seeds."""
    percent = f"{100 * outcome.confidence:g} %"
    table = Table(title=f"Recipe minus control, points, on the test split ({percent} intervals)")
    for name in ("model", "control", "suite"):
        table.add_column(name)
    for seed in outcome.seeds:
        table.add_column(f"seed {seed}", justify="right")
    table.add_column("mean", justify="right")
    for row in outcome.rows:
        cells = [_points(item.difference, item.low, item.high) for item in row.seeds]
        table.add_row(row.model, row.control, row.suite, *cells, _points(row.mean, row.low, row.high))
    console.print(table)
    console.print(
        "A seed's interval: paired bootstrap over clusters of test items. The mean's: Student's t over seeds (none with one seed).", highlight=False
    )


def last_line(outcome: StoredControls, path: Path) -> str:
    """Return the JSON object the bench ends with: every mean difference with its interval, and where all numbers are."""
    differences = {
        f"{row.model} - {row.control}, {row.suite}": {"mean": row.mean, "low": row.low, "high": row.high, "by_seed": [item.difference for item in row.seeds]}
        for row in outcome.rows
    }
    head = {"bench": "controls", "date": outcome.date, "cpu": outcome.cpu, "threads": outcome.threads, "seeds": list(outcome.seeds)}
    return json.dumps({**head, "profile": outcome.profile, "differences": differences, "file": str(path)})


def _points(value: float, low: float | None, high: float | None) -> str:
    interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if low is not None and high is not None else ""
    return f"{100 * value:+.1f}{interval}"
