"""Which number type products are computed in: float32, bfloat16, or `auto`: bfloat16 on a GPU, float32 on any processor.

`auto` does not ask which processor it is, so that a recipe moved to another node trains another model in no more than
its last bits. Where a processor has units for bfloat16 (Intel's AMX, AMD's AVX512-BF16) `bfloat16` is worth asking for
from some ten million parameters on. On Intel processors that have the AVX512-BF16 instructions alone they lose (Xeon, 2
cores, 2304 × 192 × 1024: float32 324 GFLOP/s, bfloat16 165). There `bfloat16` rounds the weights and activations that
enter a linear layer to bfloat16 and multiplies them in float32: what units for bfloat16 compute, but for a result and
gradients that are not rounded (one core, 1614 × 192 × 1024: 4.3 ms with the rounding, 7.8 as the processor's own). That
choice reads what the processor says of itself, never a clock, so that equal machines give equal bytes.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from components.settings.training import Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """Return what `auto` stands for on this machine; the others as they are."""
    if precision != "auto":
        return precision
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the dtype a precision names."""
    return DTYPES[resolve_precision(precision)]


@dataclass(frozen=True)
class Products:
    """How a pass multiplies: the dtype of its tensors, and whether what enters a linear layer is rounded to bfloat16 first."""

    dtype: torch.dtype
    is_rounded: bool = False

    def operand(self, values: Tensor) -> Tensor:
        """Return values as they enter a product; a rounding passes gradients on as they are."""
        values = values.to(self.dtype)
        if not self.is_rounded:
            return values
        return _Rounding.apply(values) if torch.is_grad_enabled() else values.bfloat16().float()


def products_in(precision: Precision) -> Products:
    """Return how this machine multiplies in a precision."""
    dtype = dtype_of(precision)
    return Products(torch.float32, is_rounded=True) if dtype is torch.bfloat16 and not has_fast_bfloat16() else Products(dtype)


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


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):  # type: ignore[no-untyped-def]
        return values.bfloat16().float()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return grad
