"""Set torch up so that equal inputs give equal bytes and long runs stay within their memory.

Bytes: a fixed number of threads, and kernels that are deterministic or refused. Memory: on a CPU, ideep (torch's layer
over oneDNN) and oneDNN each keep the last 1,024 primitives, compiled for one shape each. With lengths that vary, every
step brings new shapes, and a small model's process grows by a gigabyte of kernels it never uses again (one core, bfloat16, a
model of 2 layers, 100 steps of varying lengths: 1,853 MiB resident with the default, 829 with 64). Where processors multiply
bfloat16, rows are rounded up so that few shapes are used again and again (components/modeling/even_rows.py), some 12 for
each number of rows, and `PRIMITIVES` hold those of some twenty numbers.
"""

import importlib
import os

PRIMITIVES = 256
CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")  # read by ideep and oneDNN when torch first multiplies
CUBLAS_WORKSPACE = ":4096:8"  # with which cuBLAS is deterministic; torch refuses its products on a GPU without


def prepare_torch(threads: int, *, preload: tuple[str, ...] = ()) -> None:
    """Fix torch's threads, ask for deterministic kernels and bound the caches; `preload` names modules to import while nothing else waits."""
    for name in CACHES:
        os.environ.setdefault(name, str(PRIMITIVES))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    import torch

    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms(True), which imports the compiler: 3 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # 4 % of a GRPO step, for memory that nothing reads
    for name in preload:
        importlib.import_module(name)
