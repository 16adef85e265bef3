"""What a process, its children, the machine and its GPUs use at a moment, and the energy they have taken.

Energy: Intel's and AMD's RAPL counters under /sys/class/powercap (the whole processor's, not one process's), and NVML's
counters of the GPUs this process may use. What a machine does not tell (no right to read, no driver, no `pynvml`
package) is absent, never 0.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:[0-9]"  # one a processor package; AMD's are named so too
RESET_PEAK = "5"  # written to clear_refs: the peak of resident memory counts anew (proc(5))


@dataclass(frozen=True)
class ProcessUse:
    """Of a process and its children: `cpu_seconds` since each began, resident memory in bytes."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class GpuUse:
    """One GPU at a moment; `joules` since its driver was loaded, None where the board does not count."""

    index: int
    busy_percent: float
    memory_bytes: int
    watts: float | None
    joules: float | None


def process_use(process: psutil.Process) -> ProcessUse:
    """Return what a process and its living and ended children use."""
    times = process.cpu_times()
    cpu, memory = times.user + times.system + times.children_user + times.children_system, process.memory_info().rss
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            used = child.cpu_times()
            cpu, memory = cpu + used.user + used.system, memory + child.memory_info().rss
    return ProcessUse(cpu, memory)


def reset_peak() -> bool:
    """Let the kernel count this process's peak of resident memory anew; False where it does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Return this process's peak of resident memory since `reset_peak` (or its start); 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class ProcessorEnergy:
    """The processors' energy counters; they wrap, so ask at least once a minute."""

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._packages = [path for path in sorted(folder.glob(PACKAGES)) if _microjoules(path) is not None]
        self._last = {path: _microjoules(path) or 0 for path in self._packages}
        self._joules = 0.0

    def joules(self) -> float | None:
        """Return what the processors took since this object was made; None where they do not tell."""
        for path in self._packages:
            now = _microjoules(path)
            if now is not None:
                taken = now - self._last[path]
                self._joules += (taken if taken >= 0 else taken + (_microjoules(path, "max_energy_range_uj") or 0)) / 1e6
                self._last[path] = now
        return self._joules if self._packages else None


class Gpus:
    """The GPUs this process may use, through NVML; none where its library or the `pynvml` package is missing."""

    def __init__(self, *, nvml: Any = None, environment: Mapping[str, str] = os.environ) -> None:
        self._nvml = nvml
        self._handles: list[tuple[int, Any]] = []
        try:
            if nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
            self._handles = [(index, self._handle(name)) for index, name in enumerate(self._names(environment))]
        except Exception:  # no package, no driver, no right: there is nothing to measure
            self._handles = []

    def use(self) -> list[GpuUse]:
        """Return what each GPU is at; one that stopped answering is left out."""
        found = []
        for index, handle in self._handles:
            with contextlib.suppress(Exception):
                busy = float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                memory = int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
                watts, joules = self._thousandths("nvmlDeviceGetPowerUsage", handle), self._thousandths("nvmlDeviceGetTotalEnergyConsumption", handle)
                found.append(GpuUse(index, busy, memory, watts, joules))
        return found

    def _names(self, environment: Mapping[str, str]) -> list[str]:
        """Return the GPUs' numbers or ids, as CUDA_VISIBLE_DEVICES orders them."""
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return [str(number) for number in range(self._nvml.nvmlDeviceGetCount())]
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]

    def _handle(self, name: str) -> Any:
        return self._nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else self._nvml.nvmlDeviceGetHandleByUUID(name)

    def _thousandths(self, function: str, handle: Any) -> float | None:
        """Return what NVML tells in thousandths (milliwatts, millijoules); None where the board does not tell."""
        with contextlib.suppress(Exception):
            return float(getattr(self._nvml, function)(handle)) / 1000
        return None


def _microjoules(package: Path, name: str = "energy_uj") -> int | None:
    try:
        return int((package / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
