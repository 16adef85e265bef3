"""Products on a processor's own units for bfloat16, of few different numbers of rows.

PyTorch multiplies bfloat16 by oneDNN, which compiles a kernel for every new shape: 2 to 5 ms where the product itself takes
0.2 to 0.5 (2-core Xeon with AMX, some 1,600 × 192 × 512; float32: 1.1, new shapes or old). Packed batches and live rows are
hardly ever as many as before, so rows are rounded up: to the next 32, above 512 by at most a sixteenth. Activations stay
float32, in which elementwise parts and attention, whose shapes vary most, compile nothing; the copy that rounds them to
bfloat16 on their way into a product fills up the rows too.
"""

import torch
from torch import Tensor
from torch.nn import functional

LEAST_STEP = 32  # rows


def even_rows(rows: int) -> int:
    """Return the number of rows a product of `rows` is given: 16 different ones for each doubling, at least `LEAST_STEP` apart."""
    step = max(LEAST_STEP, (1 << rows.bit_length()) // 32)
    return -(-rows // step) * step


def even_linear(values_RX: Tensor, matrix_YX: Tensor) -> Tensor:
    """Return values · matrixᵀ, (rows, outputs), float32, multiplied in the matrix's bfloat16; so are both gradients."""
    if torch.is_grad_enabled():
        return _EvenLinear.apply(values_RX, matrix_YX)
    return _product(filled_up(values_RX, matrix_YX.dtype), matrix_YX, rows=len(values_RX))


def filled_up(values_RX: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the rows in `dtype`, zeros after them up to an even number."""
    rows, even = len(values_RX), even_rows(len(values_RX))
    if rows == even:
        return values_RX.to(dtype)
    filled = values_RX.new_empty(even, *values_RX.shape[1:], dtype=dtype)
    filled[:rows] = values_RX
    filled[rows:] = 0
    return filled


def _product(filled: Tensor, matrix: Tensor, *, rows: int) -> Tensor:
    return functional.linear(filled, matrix)[:rows].float()


class _EvenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, matrix):  # type: ignore[no-untyped-def]
        filled = filled_up(values, matrix.dtype)
        ctx.save_for_backward(filled, matrix)
        return _product(filled, matrix, rows=len(values))

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        filled, matrix = ctx.saved_tensors
        filled_grad = filled_up(grad, matrix.dtype)
        grad_values = (filled_grad @ matrix)[: len(grad)].float() if ctx.needs_input_grad[0] else None
        grad_matrix = filled_grad.t() @ filled if ctx.needs_input_grad[1] else None
        return grad_values, grad_matrix
