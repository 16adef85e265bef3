"""What a machine tells: real processes, and folders and libraries as the kernel and NVML show them."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from components.observing.machine import Gpus, ProcessorEnergy, peak_bytes, process_use, reset_peak

MEGABYTE = 1 << 20


class ScriptedNvml:
    """NVML of two boards: the second counts no energy."""

    def __init__(self) -> None:
        self.millijoules = 5_000_000

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"board-{index}"

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        return {"GPU-aa": "board-0", "GPU-bb": "board-1"}[name]

    def nvmlDeviceGetUtilizationRates(self, handle: str):
        return type("Rates", (), {"gpu": 40 if handle == "board-0" else 90})

    def nvmlDeviceGetMemoryInfo(self, handle: str):
        return type("Memory", (), {"used": 3 * MEGABYTE})

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return 250_000

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if handle == "board-1":
            raise RuntimeError("not supported")
        return self.millijoules


def test_a_childs_memory_and_time_count():
    child = subprocess.Popen([sys.executable, "-c", "x = bytearray(64 << 20); print(1, flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        alone, both = psutil.Process().memory_info().rss, process_use(psutil.Process()).memory_bytes
        assert both - alone > 60 * MEGABYTE
    finally:
        child.kill()
        child.wait()


def test_the_peak_counts_anew_once_it_is_reset():
    block = bytearray(os.urandom(1)) * (96 << 20)
    high = peak_bytes()
    del block
    assert reset_peak()
    assert peak_bytes() < high - 60 * MEGABYTE


def package(folder: Path, number: int, microjoules: int) -> Path:
    path = folder / f"intel-rapl:{number}"
    path.mkdir(exist_ok=True)
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text("1000000000\n")
    return path


def test_the_processors_energy_adds_up_over_packages_and_over_a_wrap(tmp_path):
    package(tmp_path, 0, 999_000_000)
    package(tmp_path, 1, 0)
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of package 0, counted in it
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("5\n")
    energy = ProcessorEnergy(tmp_path)
    assert energy.joules() == 0.0
    package(tmp_path, 0, 2_000_000)  # wrapped: 1 J to the end of the range and 2 J beyond
    package(tmp_path, 1, 4_000_000)
    assert energy.joules() == 7.0


def test_a_machine_without_counters_tells_nothing(tmp_path):
    assert ProcessorEnergy(tmp_path).joules() is None
    assert Gpus(nvml=object()).use() == []


def test_the_gpus_are_those_this_process_may_use_in_its_own_order():
    both = Gpus(nvml=ScriptedNvml(), environment={}).use()
    assert [(gpu.index, gpu.busy_percent, gpu.watts, gpu.joules) for gpu in both] == [(0, 40.0, 250.0, 5000.0), (1, 90.0, 250.0, None)]
    assert [gpu.busy_percent for gpu in Gpus(nvml=ScriptedNvml(), environment={"CUDA_VISIBLE_DEVICES": "1,0"}).use()] == [90.0, 40.0]
    assert [gpu.busy_percent for gpu in Gpus(nvml=ScriptedNvml(), environment={"CUDA_VISIBLE_DEVICES": "GPU-bb"}).use()] == [90.0]
    assert Gpus(nvml=ScriptedNvml(), environment={"CUDA_VISIBLE_DEVICES": ""}).use() == []
