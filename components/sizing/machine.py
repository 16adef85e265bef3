"""How fast this machine multiplies and reads: the best of a few short tries, for comparisons with a recorded run."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

TRIES = 8
ROWS, INNER, COLUMNS = 4096, 512, 2048
READ_BYTES = 1 << 28


@dataclass(frozen=True)
class MachineSpeed:
    """Products in float32 and bfloat16, operations a second; reads from memory, bytes a second."""

    float32: float
    bfloat16: float
    bandwidth: float


def measure_machine(*, threads: int) -> MachineSpeed:
    """Measure; takes about two seconds."""
    import torch

    torch.set_num_threads(threads)
    return MachineSpeed(_products(torch.float32), _products(torch.bfloat16), _reads())


def _products(dtype: object) -> float:
    import torch

    left, right = torch.randn(ROWS, INNER).to(dtype), torch.randn(INNER, COLUMNS).to(dtype)  # type: ignore[call-overload]
    seconds = _best(lambda: left @ right)
    return 2.0 * ROWS * INNER * COLUMNS / seconds


def _reads() -> float:
    import torch

    values = torch.ones(READ_BYTES // 4)
    return READ_BYTES / _best(lambda: values.sum())


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return min(times)
