"""Set torch up so that equal inputs give equal bytes: a fixed number of threads, deterministic kernels."""

import importlib


def prepare_torch(threads: int, *, preload: tuple[str, ...] = ()) -> None:
    """Fix torch's threads and ask for deterministic kernels; `preload` names modules to import while nothing else waits."""
    import torch

    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms(True, warn_only=True), which imports the compiler: 3 s
    for name in preload:
        importlib.import_module(name)
