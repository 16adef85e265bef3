"""Read back what a stage used: as sums for the run's summary, and as points for MLflow's system metrics."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.observing.sampler import SAMPLES

MOST_POINTS = 1000  # of each metric in MLflow: of a longer stage every second, third, … sample is shown
MEGABYTE = 1 << 20
JOULES_A_WATT_HOUR = 3600.0


@dataclass(frozen=True)
class Usage:
    """What a stage used in all its attempts and processes; `watt_hours` as far as the machine tells, else None."""

    cpu_seconds: float
    peak_bytes: int
    gpu_peak_bytes: int | None
    watt_hours: float | None

    def rounded(self) -> dict[str, float | int | None]:
        """Return it as JSON, in the precision it was measured with."""
        hours = None if self.watt_hours is None else round(self.watt_hours, 3)
        return {**asdict(self), "cpu_seconds": round(self.cpu_seconds, 1), "watt_hours": hours}


@dataclass(frozen=True)
class SystemPoint:
    """One number at one sample; `milliseconds` since the epoch."""

    name: str
    value: float
    milliseconds: int
    step: int


def stage_usage(folder: Path) -> Usage | None:
    """Return what the stage of a work folder used; None where nothing was sampled.

    Processes of one stage add up in every number. The machine's processors are counted once, by the process that says most.
    """
    ranks = [usage for path in system_files(folder) if (usage := _file_usage(read_samples(path))) is not None]
    if not ranks:
        return None
    gpus = [item.gpu_peak_bytes for item in ranks if item.gpu_peak_bytes is not None]
    energy = [item.watt_hours for item in ranks if item.watt_hours is not None]
    return Usage(
        cpu_seconds=sum(item.cpu_seconds for item in ranks), peak_bytes=sum(item.peak_bytes for item in ranks),
        gpu_peak_bytes=max(gpus) if gpus else None, watt_hours=max(energy) if energy else None,
    )  # fmt: skip


def system_points(folder: Path) -> list[SystemPoint]:
    """Return a stage's samples under the names MLflow's page knows: `system/…`, of further processes `system/rank_1/…`."""
    points = []
    for path in system_files(folder):
        samples = read_samples(path)
        rank = path.stem.rpartition("rank-")[2] if "rank-" in path.stem else ""
        prefix = f"system/rank_{rank}/" if rank else "system/"
        every = -(-len(samples) // MOST_POINTS) or 1
        for step, sample in list(enumerate(samples))[::every]:
            milliseconds = int(sample["time"] * 1000)
            points += [SystemPoint(f"{prefix}{name}", value, milliseconds, step) for name, value in _numbers(sample)]
    return points


def system_files(folder: Path) -> list[Path]:
    """Return the files of samples of a work folder: process 0's first, then the other ranks'."""
    own = folder / SAMPLES
    return [*([own] if own.is_file() else []), *sorted(folder.glob(f"{own.stem}-rank-*{own.suffix}"))]


def rank_file(folder: Path, rank: int) -> Path:
    """Return where a rank's samples go."""
    return folder / SAMPLES if rank == 0 else folder / f"{Path(SAMPLES).stem}-rank-{rank}{Path(SAMPLES).suffix}"


def read_samples(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a file; a torn last line is left out."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _file_usage(samples: list[dict[str, Any]]) -> Usage | None:
    """Add up the attempts: each one's numbers count from its own beginning, so its last sample holds its sums."""
    last = {sample["attempt"]: sample for sample in samples}
    if not last:
        return None
    gpu = [sum(item["memory_bytes"] for item in sample["gpus"]) for sample in samples if sample["gpus"]]
    joules = [sample["joules"] for sample in last.values() if sample["joules"] is not None]
    return Usage(
        cpu_seconds=sum(sample["cpu_seconds"] for sample in last.values()), peak_bytes=max(sample["peak_bytes"] for sample in samples),
        gpu_peak_bytes=max(gpu) if gpu else None, watt_hours=sum(joules) / JOULES_A_WATT_HOUR if joules else None,
    )  # fmt: skip


def _numbers(sample: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield "cpu_utilization_percentage", sample["machine_cpu_percent"]
    yield "system_memory_usage_percentage", sample["machine_memory_percent"]
    yield "process_memory_megabytes", sample["memory_bytes"] / MEGABYTE
    yield "process_cpu_seconds", sample["cpu_seconds"]
    if sample["cpu_percent"] is not None:
        yield "process_cpu_percentage", sample["cpu_percent"]
    if sample["joules"] is not None:
        yield "energy_watt_hours", sample["joules"] / JOULES_A_WATT_HOUR
    for gpu in sample["gpus"]:
        yield f"gpu_{gpu['index']}_utilization_percentage", gpu["busy_percent"]
        yield f"gpu_{gpu['index']}_memory_usage_megabytes", gpu["memory_bytes"] / MEGABYTE
        if gpu["watts"] is not None:
            yield f"gpu_{gpu['index']}_power_usage_watts", gpu["watts"]
