"""What runs beside a stage costs, in processor seconds a second: the display, the samples, the log that follows the record.

Each is run alone in this process, over the events of a run of 19 stages and the record of a stage of 10,000 steps.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

STAGES, STEPS = 19, 10_000
FAST = 0.02  # seconds between samples while they are measured; their cost is then put to the period in use


def display_share(folder: Path, *, seconds: float, is_terminal: bool) -> float:
    """Return the share of a core the display takes, drawing to nowhere.

    Args:
        seconds: to measure over.
        is_terminal: the live table, or lines as in a log.
    """
    from rich.console import Console

    from flows.display import LiveDisplay

    run = make_run(folder)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, LiveDisplay(run, console=Console(file=nowhere, force_terminal=is_terminal, width=160)):
        return _share(lambda: time.sleep(seconds))


def sample_seconds(folder: Path, *, seconds: float) -> float:
    """Return the processor seconds of one sample of memory, processor, GPU and energy."""
    from components.observing.sampler import UsageSampler
    from components.observing.usage import read_samples

    path = folder / "usage.jsonl"
    started = time.process_time()
    with UsageSampler(path, period_seconds=FAST):
        time.sleep(seconds)
    return (time.process_time() - started) / len(read_samples(path))


def heard_seconds(folder: Path) -> float:
    """Return the seconds one entry of a record costs more where a log follows it."""
    from components.observing.run_log import RunLog
    from components.observing.stage_watch import RecordLog
    from components.recorder import Recorder

    followed = Recorder(folder / "followed", heard=RecordLog(RunLog(folder / "logs" / "x.jsonl", run="bench")).hear)
    alone = Recorder(folder / "alone")
    seconds = [_record(alone), _record(followed), _record(alone), _record(followed)]
    return max(0.0, (seconds[1] + seconds[3] - seconds[0] - seconds[2]) / (2 * STEPS))


def make_run(folder: Path) -> Path:
    """Write the events of a run whose last stage is at work, and that stage's record; return the run's folder."""
    from components.pipeline.events import RunEvents
    from components.pipeline.plan import PlannedStage
    from components.recorder import Recorder

    events, work = RunEvents(folder / f"run-{time.monotonic_ns()}"), folder / "work"
    events.plan([PlannedStage(f"stage_{number}", "run", ("never ran",), 60.0) for number in range(STAGES)])
    for number in range(STAGES - 1):
        events.stage(f"stage_{number}", "running", reason="never ran")
        events.stage(f"stage_{number}", "ran", reason="never ran", seconds=60.0)
    events.stage(f"stage_{STAGES - 1}", "running", reason="never ran", folder=str(work))
    recorder = Recorder(work)
    _record(recorder)
    recorder.progress(STEPS, STEPS, loss=1.0)
    return events.folder


def _record(recorder: "object") -> float:
    started = time.perf_counter()
    for step in range(STEPS):
        recorder.metrics({"loss": 1.0, "gradient_norm": 2.0, "learning_rate": 1e-3}, step=step)  # type: ignore[attr-defined]
    return time.perf_counter() - started


def _share(wait: Callable[[], None]) -> float:
    started, cpu = time.perf_counter(), time.process_time()
    wait()
    return (time.process_time() - cpu) / (time.perf_counter() - started)
