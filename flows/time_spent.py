"""Where a run's time went: each stage's seconds, and inside the stages that record timings, what they spent them on.

Beside it what the stage used, where it was sampled (components/observing): processor seconds, the peak of memory, energy.

A stage's record holds timings step by step (`seconds_generate`, …), and beside them floors: the fewest seconds the
step's own tokens allow on this machine (components/sizing/floors.py). Nothing here is estimated; what no part names is
`other`: loading, tokenising, publishing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.recorder import TIMING, read_record

FLOOR = "floor_"
COLUMNS = (
    ("generate", ("generate",)),
    ("floor", ("floor_generate",)),
    ("score", ("score",)),
    ("reference", ("reference", "old")),
    ("update", ("policy", "update", "optimiser")),
    ("floor", ("floor_update",)),
    ("sync", ("sync",)),
    ("looks", ("look",)),
    ("saving", ("checkpoint",)),
)
MEBIBYTE = 1 << 20
USED = (("cpu s", "cpu_seconds", 1.0), ("peak MiB", "peak_bytes", MEBIBYTE), ("GPU MiB", "gpu_peak_bytes", MEBIBYTE), ("Wh", "watt_hours", 1.0))
EXPLAINED = (
    "floor: what generating, or reference and update, of these tokens needs at the speed this machine's products and memory were measured with; "
    "looks: at validation; saving: checkpoints, as far as training waited for them"
)


def recorded_seconds(folder: Path) -> dict[str, float]:
    """Return the sums of a record's timings: part → seconds, several models' of one record together."""
    parts: dict[str, float] = {}
    for entry in read_record(folder):
        for name, value in entry["values"].items() if entry["kind"] == "metrics" else ():
            if name.startswith(TIMING):
                part = name.removeprefix(TIMING).partition("/")[0]
                parts[part] = parts.get(part, 0.0) + value
    return parts


def other_seconds(stage: Mapping[str, Any]) -> float:
    """Return the seconds of a stage that none of its parts names."""
    return max(0.0, stage["seconds"] - sum(value for part, value in stage["parts"].items() if not part.startswith(FLOOR)))


def print_time_spent(console: Console, stages: Sequence[Mapping[str, Any]], *, wall_seconds: float, overhead_seconds: float) -> None:
    """Print the table of a run's stages that took time.

    Args:
        stages: of the summary: name, status, seconds, parts and what was used of each.
    """
    timed = [stage for stage in stages if stage["seconds"]]
    if not timed:
        return
    used = [(title, name, scale) for title, name, scale in USED if any((stage.get("used") or {}).get(name) is not None for stage in timed)]
    shown = [(title, parts) for title, parts in COLUMNS if any(part in stage["parts"] for stage in timed for part in parts)]
    table = Table(title="where the time went (seconds)", title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    for title in ("all", "share", *(title for title, _ in shown), *(["other"] if shown else []), *(title for title, _, _ in used)):
        table.add_column(title, justify="right")
    for stage in timed:
        cells = [_cell([stage["parts"][part] for part in parts if part in stage["parts"]]) for _, parts in shown]
        rest = [_cell([other_seconds(stage)] if stage["parts"] else [])] if shown else []
        table.add_row(stage["name"], f"{stage['seconds']:.1f}", f"{stage['seconds'] / max(wall_seconds, 1e-9):.0%}", *cells, *rest, *_used_cells(stage, used))
    table.add_row("around them", f"{overhead_seconds:.1f}", f"{overhead_seconds / max(wall_seconds, 1e-9):.0%}")
    console.print(table)
    if any(part.startswith(FLOOR) for _, parts in shown for part in parts):
        console.print(EXPLAINED, style="dim", highlight=False)
    if any(stage["status"] == "resumed" and stage["parts"] for stage in timed):
        console.print("a resumed stage: its seconds are of the last attempt, its parts of all that stands", style="dim", highlight=False)


def _used_cells(stage: Mapping[str, Any], used: Sequence[tuple[str, str, float]]) -> list[str]:
    found = stage.get("used") or {}
    values = [(name, found.get(name), scale) for _, name, scale in used]
    return ["" if value is None else f"{value / scale:.2f}" if name == "watt_hours" else f"{value / scale:.0f}" for name, value, scale in values]


def _cell(values: Sequence[float]) -> str:
    return f"{sum(values):.1f}" if values else ""
