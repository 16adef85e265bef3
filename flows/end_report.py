"""What a run prints at its end: the table of stages, the decision with its reasons, and how to look further."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components import layout
from flows.summary import claims_by_stage
from flows.time_spent import print_time_spent


def print_report(console: Console, root: Path, summary: Mapping[str, Any], *, notes: list[str]) -> None:
    """Print the end of a run from its summary."""
    console.print(_stage_table(summary["stages"], claims_by_stage(root)))
    print_time_spent(console, summary["stages"], wall_seconds=summary["wall_seconds"], overhead_seconds=summary["overhead_seconds"])
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    _print_decision(console, summary["registry"], summary["run"])
    own = summary["wall_seconds"] - summary["overhead_seconds"]
    console.print(
        f"\n{summary['wall_seconds']:.0f} s in all: {own:.0f} s stages' own work, {summary['overhead_seconds']:.0f} s around it. Run {summary['run']}.",
        highlight=False,
    )
    print_where_to_look(console, root)


def print_where_to_look(console: Console, root: Path) -> None:
    """Print how to look further."""
    console.print("\nLook further:", highlight=False)
    if (root / layout.REPORT).is_file():
        console.print(f"  {layout.REPORT}   the evaluation, in a browser", highlight=False)
    console.print("  runs/latest/summary.json            the same for machines", highlight=False)
    console.print("  quarkmed up                         the pages of Prefect (runs) and MLflow (metrics, models)", highlight=False)
    console.print('  quarkmed ask "How is asthma treated first?"', highlight=False)


def _stage_table(stages: list[Mapping[str, Any]], claims: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    table.add_column("how")
    table.add_column("seconds", justify="right")
    table.add_column("primary metric: before → after", overflow="fold")
    table.add_column("why", overflow="fold", ratio=1)
    for stage in stages:
        seconds = f"{stage['seconds']:.1f}" if stage["seconds"] else "–"
        table.add_row(stage["name"], stage["status"], seconds, claim_text(claims.get(stage["name"])), stage["reason"])
    return table


def claim_text(claim: Mapping[str, Any] | None) -> str:
    """Return a claim as one line: "verified .41 → .55, +.14 [+.12, +.16] shown"."""
    if claim is None:
        return ""
    numbers = f"{claim['before']:.3f} → {claim['after']:.3f}, {claim['difference']:+.3f} [{claim['low']:+.3f}, {claim['high']:+.3f}]"
    return f"{claim['suite']} {numbers} {claim['word']}"


def _print_decision(console: Console, registry: Mapping[str, Any] | None, run: str) -> None:
    if registry is None:
        return
    words = {
        "promoted": "is the champion now", "refused": "was refused; the champion stays", "held": "passed the gate and waits for a person (`quarkmed retrain --promote auto` lets the gate decide)",
        "unchanged": "is the champion's very bytes; nothing to promote",
    }  # fmt: skip
    earlier = f" (decided in run {registry['decided_in']})" if registry["decided_in"] not in ("", run) else ""
    console.print(f"\n{registry['model']} version {registry['version']} {words.get(registry['decision'], registry['decision'])}{earlier}.", style="bold", highlight=False)
    for reason in registry["reasons"]:
        console.print(f"  - {reason}", highlight=False)
