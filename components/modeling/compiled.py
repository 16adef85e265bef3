"""Functions that torch's compiler makes one kernel of on a GPU; on a processor they run as they are written.

A GPU spends most of a layer's time between its products: each elementwise operation reads and writes all activations once.
Compiled, a chain of them reads and writes them once in all.

Equal runs give equal bits, however they were cut by kills: kernels are chosen by rule, not by timing, and each is compiled
for any number of tokens from two on, on a sample of always the same size, so that it does not depend on which batch came
first. More kernels of a function than `RECOMPILE_LIMIT` are an error: torch would go on uncompiled in silence. Triton builds
its launchers with a C compiler and Python's headers; without them the functions run uncompiled, and that is said once.
"""

import functools
import inspect
import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SAMPLE_TOKENS = 8192  # of the sample that a kernel is compiled on
RECOMPILE_LIMIT = 64  # kernels of one function: number types, models' widths
NO_COMPILER = (
    "no C compiler (CC, or gcc or clang on the PATH) or no Python.h is here, which Triton needs: elementwise operations run one by one on the "
    "GPU, and training is slower"
)


def compiled_on_gpu(*by_token: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator: where the first argument, a tensor, lies on a GPU, the function's compiled form is called.

    For parts of forwards and backwards written by hand: no gradient passes through a compiled form. Arguments are positional.

    Args:
        by_token: names of the arguments whose first dimension is the tokens; all other dimensions are of the model. Nothing
            may be summed over the tokens: the compiler cuts such a sum by its length.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = list(inspect.signature(function).parameters)
        places = frozenset(names.index(name) for name in by_token)
        known: set[tuple[Any, ...]] = set()

        @functools.wraps(function)
        def run(*given: Any) -> Any:
            if not given[0].is_cuda or not has_compiler():
                return function(*given)
            compiled, bare = _compiled(function), tuple(part.detach().contiguous() if isinstance(part, Tensor) else part for part in given)
            kind = (torch.get_deterministic_debug_mode(), *(_kind(part, is_by_token=place in places) for place, part in enumerate(bare)))
            if places and kind not in known:
                compiled(*(_sample(part) if place in places else part for place, part in enumerate(bare)))
                known.add(kind)
            return compiled(*bare)

        return run

    return decorate


@functools.cache
def has_compiler() -> bool:
    """Say whether what the compiled functions need is here; warn, once, where it is not."""
    compiler = shutil.which(os.environ["CC"]) if "CC" in os.environ else shutil.which("gcc") or shutil.which("clang")
    is_here = compiler is not None and (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()
    if not is_here:
        warnings.warn(NO_COMPILER, stacklevel=2)
    return is_here


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(RECOMPILE_LIMIT, torch._dynamo.config.recompile_limit)
    return torch.compile(function, fullgraph=True, dynamic=False, options={"deterministic": True})


def _kind(part: Any, *, is_by_token: bool) -> Any:
    return (part.shape[1:] if is_by_token else part.shape, part.dtype, part.device) if isinstance(part, Tensor) else part


def _sample(part: Tensor) -> Tensor:
    """Return zeros of `SAMPLE_TOKENS` tokens, whose number the compiler takes for a variable."""
    import torch._dynamo

    sample = part.new_zeros(SAMPLE_TOKENS, *part.shape[1:])
    torch._dynamo.mark_dynamic(sample, 0)
    return sample
