"""The ledger of GPU-hours: what pods ran, how long, on how many GPUs. One JSON line a pod in var/launch/gpu_hours.jsonl.

A line is written when a pod is first counted and again as it grows older; the last line of a pod is what counts. What a
killed run's pods went on to do is counted by the next run in the same folder, as long as the cluster keeps the job
(`keep_hours` of its pods' settings). Hours are those of the run that made the job, also where a later one took it over.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from components.storage.files import exclusive

LEDGER = "var/launch/gpu_hours.jsonl"
HOUR = 3600.0


@dataclass(frozen=True)
class PodTime:
    """One pod's time. `started` and `ended` are seconds since the epoch; `has_ended` is false of a pod that went on after."""

    pod: str
    uid: str
    node: str
    run: str
    stage: str
    key: str
    attempt: int
    gpus: int
    started: float
    ended: float
    has_ended: bool

    @property
    def gpu_hours(self) -> float:
        """GPUs × hours, waiting for images and volumes included: the GPU is taken by then."""
        return self.gpus * max(0.0, self.ended - self.started) / HOUR


class GpuLedger:
    """Appends to the ledger, and adds it up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, times: list[PodTime]) -> None:
        """Append one line for each pod of which it says something new, in one write that other processes' writes do not tear."""
        known = self.pods() if times else []
        fresh = [time for time in times if time not in known]
        if not fresh:
            return
        with exclusive(self.path), self.path.open("ab+") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
            is_torn = stream.read(1) not in (b"", b"\n")
            lines = "".join(json.dumps(asdict(time), ensure_ascii=False) + "\n" for time in fresh)
            stream.write((b"\n" if is_torn else b"") + lines.encode())
            stream.flush()
            os.fsync(stream.fileno())

    def pods(self) -> list[PodTime]:
        """Return each pod's last line, in the order they were first counted; a line torn by a kill is left out."""
        found: dict[str, PodTime] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []:
            try:
                time = PodTime(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[time.uid] = time
        return list(found.values())

    def gpu_hours(self, *, run: str | None = None) -> float:
        """Return the GPU-hours of one run, or of all."""
        return sum(time.gpu_hours for time in self.pods() if run in (None, time.run))


def open_ledger(root: Path) -> GpuLedger:
    """Return the ledger of a project's folder."""
    return GpuLedger(root / LEDGER)
