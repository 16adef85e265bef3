"""How fast a device multiplies and reads: the best of short tries, on operands that change no random state.

Two uses: once a process and number type beside the steps of a training (`device_speed`, about 0.2 s on a processor), and
longer for the comparison with a recorded run (`measure_machine`). On a processor both are of the threads torch is set to.
Reads on a processor whose last cache holds the 128 MiB are of that cache, as are then a small model's own.
Products of 1024 × 512 × 1024 reach on one core what the largest do (170 GFLOP/s against 150 to 175, float32).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

SHORT_SECONDS, LONG_SECONDS = 0.06, 0.5
FEWEST_TRIES = 3
PRODUCTS = {"cpu": (1024, 512, 1024), "cuda": (8192, 8192, 8192)}  # rows, inner, columns
READ_BYTES = {"cpu": 1 << 27, "cuda": 1 << 30}


@dataclass(frozen=True)
class DeviceSpeed:
    """Operations a second of matrix products in one number type, and bytes a second read from memory."""

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class MachineSpeed:
    """Products in float32 and bfloat16, operations a second; reads from memory, bytes a second."""

    float32: float
    bfloat16: float
    bandwidth: float


@functools.cache
def device_speed(dtype: str, device: str) -> DeviceSpeed:
    """Measure a device ("cpu", "cuda:0") once a process; `dtype` is that of the products: "float32" or "bfloat16"."""
    return DeviceSpeed(product_rate(dtype, device, seconds=SHORT_SECONDS), read_rate(device, seconds=SHORT_SECONDS))


def measure_machine(*, threads: int) -> MachineSpeed:
    """Measure this processor; takes about two seconds."""
    import torch

    torch.set_num_threads(threads)
    return MachineSpeed(*(product_rate(dtype, "cpu", seconds=LONG_SECONDS) for dtype in ("float32", "bfloat16")), read_rate("cpu", seconds=LONG_SECONDS))


def product_rate(dtype: str, device: str, *, seconds: float, product: tuple[int, int, int] | None = None) -> float:
    """Return operations a second of the fastest of the products tried for `seconds`; rows, inner and columns as `PRODUCTS` where None."""
    import torch

    rows, inner, columns = product or PRODUCTS[torch.device(device).type]
    generator = torch.Generator(device=device).manual_seed(0)  # its own, so that nobody else's numbers move
    left, right = (
        torch.randn(size, generator=generator, device=device).to(getattr(torch, dtype)) for size in ((rows, inner), (inner, columns))
    )
    result = left @ right
    return 2.0 * rows * inner * columns / _best(lambda: torch.mm(left, right, out=result), device, seconds=seconds)


def read_rate(device: str, *, seconds: float) -> float:
    """Return bytes a second of the fastest of the sums over a large tensor tried for `seconds`."""
    import torch

    count = READ_BYTES[torch.device(device).type] // 4
    values = torch.ones(count, dtype=torch.float32, device=device)
    return 4.0 * count / _best(values.sum, device, seconds=seconds)


def _best(work: Callable[[], object], device: str, *, seconds: float) -> float:
    import torch

    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    work()
    times: list[float] = []
    until = perf_counter() + seconds
    while len(times) < FEWEST_TRIES or perf_counter() < until:
        wait()
        started = perf_counter()
        work()
        wait()
        times.append(perf_counter() - started)
    return min(times)
