"""What comes of the bench: the share of a stage of ten minutes, a table, and a stored file."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import cpu_text, git_state

RESULTS = "bench/results"
STAGE_SECONDS = 600.0
AIMS = {"no_change_cold_seconds": 20.0, "no_change_up_seconds": 5.0, "share_of_ten_minutes": 0.02}
STEPS_A_SECOND = 20.0  # entries a stage's record is taken to grow by; the fastest stage of params.yaml writes fewer


@dataclass(frozen=True)
class Measured:
    """Everything measured; seconds, or processor seconds a second."""

    project: str
    cold_seconds: Sequence[float]
    up_seconds: Sequence[float]
    flow_seconds: Sequence[float]
    plain_seconds: Sequence[float]
    tracking_cpu_seconds: float
    display_terminal: float
    display_lines: float
    sample_cpu_seconds: float
    sample_period_seconds: float
    heard_cpu_seconds: float


def fixed_seconds(found: Measured) -> float:
    """Return what a stage through the flow takes beyond its function, writing to MLflow beside it counted as if it waited."""
    return median(found.flow_seconds) - median(found.plain_seconds) + found.tracking_cpu_seconds


def share_a_second(found: Measured) -> float:
    """Return the share of one core that goes to what runs beside a stage, the display on a terminal."""
    return found.display_terminal + found.sample_cpu_seconds / found.sample_period_seconds + STEPS_A_SECOND * found.heard_cpu_seconds


def share_of_stage(found: Measured, seconds: float = STAGE_SECONDS) -> float:
    """Return orchestration's share of a stage of so many seconds, everything beside it counted as if it took the stage's own core."""
    return (fixed_seconds(found) + seconds * share_a_second(found)) / seconds


def summary(found: Measured) -> dict[str, Any]:
    """Return the last line's object."""
    results = {
        "no_change_cold_seconds": round(median(found.cold_seconds), 3), "no_change_up_seconds": round(median(found.up_seconds), 3),
        "share_of_ten_minutes": round(share_of_stage(found), 5),
    }  # fmt: skip
    return {
        "bench": "overhead", "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "cpu": cpu_text(), "project": found.project, **results,
        "fixed_seconds_a_stage": round(fixed_seconds(found), 3), "core_share_beside_a_stage": round(share_a_second(found), 5),
        "meets_aims": {name: results[name] < aim for name, aim in AIMS.items()},
    }  # fmt: skip


def store(found: Measured, repository: Path) -> Path:
    """Write `overhead-<date>.json`: the summary, every turn, the commit. One of the same day is replaced."""
    from components.storage.files import write_json

    told, git = summary(found), git_state(repository)
    path = repository / RESULTS / f"overhead-{told['date']}.json"
    write_json(path, told | {"git_sha": git.sha, "is_clean": git.is_clean, "aims": AIMS, "measured": asdict(found)})
    return path


def lines(found: Measured) -> list[str]:
    """Return the result for a person."""
    told: Mapping[str, Any] = summary(found)
    return [
        f"no change, no server up      {told['no_change_cold_seconds']:6.2f} s   ({_range(found.cold_seconds)}; aim under {AIMS['no_change_cold_seconds']:.0f}; {found.project})",
        f"no change, servers up        {told['no_change_up_seconds']:6.2f} s   ({_range(found.up_seconds)}; aim under {AIMS['no_change_up_seconds']:.0f})",
        f"a quick stage by the flow    {median(found.flow_seconds):6.2f} s   ({_range(found.flow_seconds)}); its function alone {median(found.plain_seconds):.4f} s",
        f"MLflow, beside it            {found.tracking_cpu_seconds:6.2f} s   of a processor, a stage",
        f"display on a terminal        {found.display_terminal:6.2%}     of a core; as lines {found.display_lines:.2%}",
        f"samples, one in {found.sample_period_seconds:g} s         {found.sample_cpu_seconds / found.sample_period_seconds:6.2%}     of a core ({found.sample_cpu_seconds * 1e3:.1f} ms each)",
        f"log that follows the record  {found.heard_cpu_seconds * 1e6:6.1f} µs  an entry",
        f"share of a 10-minute stage   {told['share_of_ten_minutes']:6.2%}     (aim under {AIMS['share_of_ten_minutes']:.0%}; reckoned from the above)",
    ]


def _range(values: Sequence[float]) -> str:
    return f"{len(values)} times, {min(values):.2f}..{max(values):.2f}"
