"""Sample what a stage uses while it runs, from a thread, into `usage.jsonl` beside its record.

Kept apart from the record: two runs of the same work agree in their record to the bit, and never in these. A stage that
is killed and goes on appends an attempt of its own. Nothing of the stage waits for a sample.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from components.observing.machine import Gpus, GpuUse, ProcessorEnergy, peak_bytes, process_use, reset_peak

SAMPLES = "usage.jsonl"
LONGEST_SECONDS = 60.0  # the processors' counters wrap after some minutes under load


class UsageSampler:
    """A context manager: a sample at its beginning, one a period, one at its end."""

    def __init__(self, path: Path, *, period_seconds: float, now: Callable[[], float] = time.time) -> None:
        """Args: period_seconds: between samples; 0: none at all."""
        self.path = path
        self.period_seconds = min(period_seconds, LONGEST_SECONDS)
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="usage", daemon=True)

    def __enter__(self) -> "UsageSampler":
        with contextlib.suppress(OSError, psutil.Error):  # a system that tells nothing of its processes
            if self.period_seconds:
                self._begin()
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join(timeout=5)
            self._sample()

    def _begin(self) -> None:
        self._process, self._processors, self._gpus = psutil.Process(), ProcessorEnergy(), Gpus()
        self._started, self._clock = self._now(), time.monotonic()
        self._counts_peak, self._peak = reset_peak(), 0
        self._first_cpu = self._last_cpu = process_use(self._process).cpu_seconds
        self._last_clock = self._clock
        self._first_gpus = {gpu.index: gpu.joules for gpu in self._gpus.use()}
        psutil.cpu_percent()  # its first answer means nothing
        self._sample()

    def _follow(self) -> None:
        while not self._stop.wait(self.period_seconds):
            self._sample()

    def _sample(self) -> None:
        with contextlib.suppress(OSError, psutil.Error):
            line = json.dumps(self._measure())
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")

    def _measure(self) -> dict[str, Any]:
        used, clock = process_use(self._process), time.monotonic()
        spent, passed = used.cpu_seconds - self._last_cpu, clock - self._last_clock
        self._last_cpu, self._last_clock = used.cpu_seconds, clock
        self._peak = max(self._peak, used.memory_bytes, peak_bytes() if self._counts_peak else 0)
        gpus, memory = self._gpus.use(), psutil.virtual_memory()
        return {
            "time": self._now(), "attempt": f"{self._started:.3f}-{os.getpid()}", "seconds": round(clock - self._clock, 3),
            "cpu_seconds": round(used.cpu_seconds - self._first_cpu, 2), "cpu_percent": round(100 * spent / passed, 1) if passed > 0.05 else None,
            "memory_bytes": used.memory_bytes, "peak_bytes": self._peak, "machine_cpu_percent": psutil.cpu_percent(),
            "machine_memory_percent": memory.percent, "joules": self._joules(gpus),
            "gpus": [{"index": gpu.index, "busy_percent": gpu.busy_percent, "memory_bytes": gpu.memory_bytes, "watts": gpu.watts} for gpu in gpus],
        }  # fmt: skip

    def _joules(self, gpus: list[GpuUse]) -> float | None:
        """Return the energy of processors and GPUs since the beginning, as far as they tell; None where none does."""
        told = [gpu.joules - first for gpu in gpus if gpu.joules is not None and (first := self._first_gpus.get(gpu.index)) is not None]
        processors = self._processors.joules()
        parts = told if processors is None else [*told, processors]
        return round(sum(parts), 3) if parts else None
