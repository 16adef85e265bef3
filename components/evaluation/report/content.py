"""What the report shows, as one value: everything computed elsewhere, nothing about how it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.evaluation.claims import Claim
from components.evaluation.report.stored_controls import StoredControls
from components.settings.evaluation import EvaluateSettings
from components.storage.files import read_json


@dataclass(frozen=True)
class ReportContent:
    """The numbers of one evaluation and what other stages reported."""

    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    claims: Sequence[Claim]
    cells: Sequence[Mapping[str, Any]]
    counts: Sequence[Mapping[str, Any]]
    retrieval: Sequence[Mapping[str, Any]]
    digests: Mapping[str, str]
    settings: EvaluateSettings
    seed: int
    mixture: Mapping[str, Any] | None = None
    stage_reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    controls: tuple[str, StoredControls] | None = None


def stage_report(path: Path) -> dict[str, Any] | None:
    """Return another stage's JSON report, or None where that stage wrote none."""
    try:
        value = read_json(path)
    except StorageError:
        return None
    return value if isinstance(value, dict) else {"entries": len(value)}


def flat_numbers(value: Any, *, prefix: str = "", limit: int = 40) -> list[tuple[str, str]]:
    """Return the numbers and short texts of a nested report as (dotted key, text), lists by their length, at most `limit`."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            rows += flat_numbers(item, prefix=f"{name}.", limit=limit)
        elif isinstance(item, bool | int | str):
            rows.append((name, str(item)[:80]))
        elif isinstance(item, float):
            rows.append((name, f"{item:.4g}"))
        elif isinstance(item, list | tuple):
            rows.append((name, f"{len(item)} entries"))
    return rows[:limit]
