"""Samples of a stage: its peak and processor time in the summary, points for MLflow, attempts and ranks added up."""

import json
import subprocess
import sys
import time
from pathlib import Path

from components.observing.sampler import UsageSampler
from components.observing.usage import MOST_POINTS, Usage, rank_file, read_samples, stage_usage, system_points

ROOT = Path(__file__).parents[2]
MEGABYTE = 1 << 20


def sample(attempt: str, *, moment: float = 1.0, cpu: float = 1.0, peak: int = 1, joules: float | None = None, gpu: int | None = None) -> dict:
    return {
        "time": moment, "attempt": attempt, "seconds": moment, "cpu_seconds": cpu, "cpu_percent": 50.0, "memory_bytes": peak, "peak_bytes": peak,
        "machine_cpu_percent": 25.0, "machine_memory_percent": 10.0, "joules": joules,
        "gpus": [] if gpu is None else [{"index": 0, "busy_percent": 80.0, "memory_bytes": gpu, "watts": 300.0}],
    }  # fmt: skip


def write(path: Path, samples: list[dict]) -> None:
    path.write_text("".join(json.dumps(item) + "\n" for item in samples))


SPENDING = """
import mmap, sys, time
from pathlib import Path
from components.observing.sampler import UsageSampler
with UsageSampler(Path(sys.argv[1]), period_seconds=30.0):
    with mmap.mmap(-1, 80 << 20) as block:  # gone before any sample
        block[:: mmap.PAGESIZE] = b"x" * (len(block) // mmap.PAGESIZE)
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
"""


def test_memory_between_two_samples_and_processor_time_are_seen(tmp_path):
    """In a process of its own: a sample counts the children too, and the tests' process may have large ones."""
    subprocess.run([sys.executable, "-c", SPENDING, str(tmp_path / "usage.jsonl")], cwd=ROOT, check=True)
    first, last = read_samples(tmp_path / "usage.jsonl")
    assert last["peak_bytes"] - first["peak_bytes"] > 60 * MEGABYTE
    assert 0.2 < stage_usage(tmp_path).cpu_seconds < 3
    assert first["attempt"] == last["attempt"] and first["gpus"] == []


def test_samples_come_one_a_period_and_none_where_the_period_is_0(tmp_path):
    with UsageSampler(tmp_path / "usage.jsonl", period_seconds=0.05):
        time.sleep(0.3)
    assert len(read_samples(tmp_path / "usage.jsonl")) >= 4
    with UsageSampler(tmp_path / "off.jsonl", period_seconds=0):
        pass
    assert not (tmp_path / "off.jsonl").exists() and stage_usage(tmp_path / "nowhere") is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    with UsageSampler(tmp_path / "missing" / "usage.jsonl", period_seconds=0.05):
        time.sleep(0.1)


def test_attempts_and_ranks_add_up(tmp_path):
    # attempt a: 4 s and 7,200 J at its last sample; b: 1 s and 3,600 J. 10,800 J are 3 Wh.
    own = [sample("a", cpu=1.0, joules=10.0), sample("a", cpu=4.0, peak=9, joules=7200.0), sample("b", cpu=1.0, peak=5, joules=3600.0, gpu=7)]
    write(rank_file(tmp_path, 0), own)
    write(rank_file(tmp_path, 1), [sample("c", cpu=2.0, peak=3)])
    assert stage_usage(tmp_path) == Usage(cpu_seconds=7.0, peak_bytes=12, gpu_peak_bytes=7, watt_hours=3.0)


def test_points_have_mlflows_names_and_a_long_stage_is_thinned(tmp_path):
    write(rank_file(tmp_path, 0), [sample("a", moment=2.0, peak=3 * MEGABYTE, joules=3600.0, gpu=2 * MEGABYTE)])
    write(rank_file(tmp_path, 1), [sample("b")] * (MOST_POINTS + 1))
    points = system_points(tmp_path)
    own = {point.name: (point.value, point.milliseconds, point.step) for point in points if "rank" not in point.name}
    assert own == {
        "system/cpu_utilization_percentage": (25.0, 2000, 0), "system/system_memory_usage_percentage": (10.0, 2000, 0), "system/process_memory_megabytes": (3.0, 2000, 0),
        "system/process_cpu_seconds": (1.0, 2000, 0), "system/process_cpu_percentage": (50.0, 2000, 0), "system/energy_watt_hours": (1.0, 2000, 0),
        "system/gpu_0_utilization_percentage": (80.0, 2000, 0), "system/gpu_0_memory_usage_megabytes": (2.0, 2000, 0), "system/gpu_0_power_usage_watts": (300.0, 2000, 0),
    }  # fmt: skip
    steps = [point.step for point in points if point.name == "system/rank_1/process_memory_megabytes"]
    assert steps == list(range(0, MOST_POINTS + 1, 2))  # 1,001 samples: every second
