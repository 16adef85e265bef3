"""Which number type products are computed in: float32, bfloat16, or `auto`, whichever this processor multiplies faster.

bfloat16 wins where the hardware has units for it: a GPU, Intel's AMX, AMD's AVX512-BF16. On Intel processors that have
the AVX512-BF16 instructions alone it loses (Xeon, 2 cores, 2304 × 192 × 1024: float32 324 GFLOP/s, bfloat16 165). The
choice reads what the processor says of itself, never a clock, so that equal machines give equal bytes.
"""

import functools
from typing import Literal

import torch

from components.settings.training import Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """Return what `auto` stands for on this machine; the others as they are."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16() else "float32"


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the dtype of products in a precision."""
    return DTYPES[resolve_precision(precision)]


@functools.cache
def has_fast_bfloat16() -> bool:
    """Say whether this machine multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return prefers_bfloat16(torch.cpu.get_capabilities())


def prefers_bfloat16(processor: dict[str, object]) -> bool:
    """Say whether a processor multiplies bfloat16 faster, from its name and features as `torch.cpu.get_capabilities` lists them."""
    is_amd = str(processor.get("cpu_name", "")).startswith("AMD")
    return bool(processor.get("amx_bf16")) or (is_amd and bool(processor.get("avx512_bf16")))
