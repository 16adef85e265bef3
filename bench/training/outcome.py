"""What comes of the bench: a table, one last line of JSON, and a stored file."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import cpu_text, git_state
from bench.training.peak import PeakShare
from bench.training.plan import Plan
from bench.training.turns import Comparison, worst_ratio
from bench.training.works import RATIOS, WORKS
from components.storage.files import write_json

RESULTS = "bench/results"
WHOLE = {"1", "3", "10"}  # sizes of a whole run


def summary(comparisons: Sequence[Comparison], shares: Sequence[PeakShare], plan: Plan, *, file: str | None) -> dict[str, Any]:
    """Return the last line's object; a ratio that was not measured is null."""
    ratios = {name: worst_ratio([item for item in comparisons if WORKS[item.work].ratios[item.kind] == name]) for name in RATIOS}
    return {
        "bench": "training", "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "cpu": cpu_text(), "threads": plan.threads,
        "sizes": list(plan.sizes), **ratios,
        "peak_share": round(min(share.training / share.best_peak for share in shares), 3) if shares else None,
        "peak_share_own_precision": {share.precision: round(share.training / share.own_peak, 3) for share in shares}, "file": file,
    }  # fmt: skip


def store(comparisons: Sequence[Comparison], shares: Sequence[PeakShare], plan: Plan, project: Path) -> Path:
    """Write `training-<date>.json`, of a part of the sizes `training-<date>-<sizes>.json`: the summary, every turn's rate, the commit.

    One of the same name is replaced.
    """
    git = git_state(project)
    part = "" if set(plan.sizes) >= WHOLE else "-" + "-".join(plan.sizes)
    path = project / RESULTS / f"training-{datetime.datetime.now(datetime.UTC).date().isoformat()}{part}.json"
    write_json(
        path,
        summary(comparisons, shares, plan, file=str(path.relative_to(project)))
        | {
            "git_sha": git.sha, "is_clean": git.is_clean, "plan": dataclasses.asdict(plan),
            "comparisons": [dataclasses.asdict(item) | {"ratio": item.ratio} for item in comparisons],
            "peak": [dataclasses.asdict(share) for share in shares],
        },
    )  # fmt: skip
    return path


def print_table(comparisons: Sequence[Comparison], shares: Sequence[PeakShare], console: Console) -> None:
    """Print one row a comparison: both sides' median rates, the ratio and its range over the pairs; then the peak."""
    table = Table(title="Ours against the peer, medians over turns")
    for name, justify in (("work", "left"), ("kind", "left"), ("size, M", "right"), ("number type", "left"), ("unit", "left"), ("ours", "right"), ("peer", "right"), ("ratio", "right"), ("range", "right"), ("tokens an answer", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for item in comparisons:
        each = [mine / theirs for mine, theirs in zip(item.ours, item.peer, strict=True)]
        table.add_row(
            item.work, item.kind, item.size, item.precision, item.unit, f"{median(item.ours):,.0f}", f"{median(item.peer):,.0f}", f"{item.ratio:.2f}",
            f"{min(each):.2f}..{max(each):.2f}", "" if item.answer_lengths is None else "{:.1f}, {:.1f}".format(*item.answer_lengths),
        )  # fmt: skip
    console.print(table)
    for share in shares:
        console.print(
            f"training in {share.precision}: {share.training:.0f} GFLOP/s, {share.training / share.own_peak:.0%} of the best {share.precision} product "
            f"({share.own_peak:.0f}), {share.training / share.best_peak:.0%} of the best of all ({share.best_peak:.0f})",
            highlight=False,
        )
