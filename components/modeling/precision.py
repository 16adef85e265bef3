"""Which number type products are computed in: float32, bfloat16, or `auto`: bfloat16 on a GPU, float32 on any processor.

`auto` does not ask which processor it is: between two of them the order of sums differs, not the number type. `bfloat16`
on a processor keeps activations float32 and rounds what enters a linear layer. Where there are units for bfloat16 (Intel's
AMX, AMD's AVX512-BF16) they multiply it, and their results are rounded too (even_rows.py). On Intel processors that have the
AVX512-BF16 instructions alone these lose (Xeon, 2 cores, 2304 × 192 × 1024: float32 324 GFLOP/s, bfloat16 165); there
rounded operands are multiplied in float32 (one core, 1614 × 192 × 1024: 4.3 ms with the rounding, 7.8 as the processor's
own). That choice reads what the processor says of itself, never a clock, so that equal machines give equal bytes.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from components.modeling.even_rows import even_linear
from components.settings.training import Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """Return what `auto` stands for on this machine; the others as they are."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16_gpu() else "float32"


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the dtype a precision names."""
    return DTYPES[resolve_precision(precision)]


@dataclass(frozen=True)
class Products:
    """How a pass multiplies.

    Attributes:
        dtype: of its activations.
        has_units: a processor's units multiply, in bfloat16, what is float32 before and after (even_rows.py).
        is_rounded: what enters a linear layer is rounded to bfloat16 and multiplied in `dtype`.
    """

    dtype: torch.dtype
    has_units: bool = False
    is_rounded: bool = False

    @property
    def multiplied(self) -> torch.dtype:
        """The dtype of what is multiplied."""
        return torch.bfloat16 if self.has_units else self.dtype

    def operand(self, values: Tensor) -> Tensor:
        """Return values, or a matrix, as they are multiplied; a rounding passes gradients on as they are."""
        values = values.to(self.multiplied)
        if not self.is_rounded:
            return values
        return _Rounding.apply(values) if torch.is_grad_enabled() else values.bfloat16().float()

    def entering(self, values_RX: Tensor) -> Tensor:
        """Return values as `linear` takes them, for one product or several: an operand, but that with units the product rounds."""
        return values_RX if self.has_units else self.operand(values_RX)

    def linear(self, values_RX: Tensor, matrix_YX: Tensor, bias_Y: Tensor | None = None) -> Tensor:
        """Return values · matrixᵀ + bias, (rows, outputs), in `dtype`; values come from `entering`, the matrix from `operand`."""
        if not self.has_units:
            return functional.linear(values_RX, matrix_YX, bias_Y)
        product = even_linear(values_RX, matrix_YX)
        return product if bias_Y is None else product + bias_Y


def products_in(precision: Precision) -> Products:
    """Return how this machine multiplies in a precision."""
    if dtype_of(precision) is torch.float32:
        return Products(torch.float32)
    if has_bfloat16_gpu():
        return Products(torch.bfloat16)
    return Products(torch.float32, has_units=True) if has_bfloat16_units() else Products(torch.float32, is_rounded=True)


@functools.cache
def has_bfloat16_gpu() -> bool:
    """Say whether models lie on a GPU that multiplies bfloat16 itself, not by emulation."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


@functools.cache
def has_bfloat16_units() -> bool:
    """Say whether models lie on a processor that multiplies bfloat16 faster than float32."""
    return not torch.cuda.is_available() and prefers_bfloat16(torch.cpu.get_capabilities())


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
