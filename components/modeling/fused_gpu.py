"""The elementwise parts of fused.py as a GPU runs them: each forward and each backward is one kernel (compiled.py).

Values and gradients are those of fused.py and attention.py to rounding (tests/modeling/test_fused_gpu.py). Arithmetic is
float32 whatever the tensors' type, and nothing but a part's inputs is kept for its backward.

Shapes: T tokens, H query heads, K key-value heads, D head size, I intermediate size.
"""

import torch
from torch import Tensor

from components.modeling.compiled import compiled_on_gpu


def normalise(hidden: Tensor, *, epsilon: float, dtype: torch.dtype) -> Tensor:
    """Do what `fused.normalise` does."""
    return _Normalise.apply(hidden, epsilon, dtype) if torch.is_grad_enabled() else _normalised(hidden, epsilon, dtype)


def turn_heads(joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float, key_value_heads: int) -> Tensor:
    """Return `joined`, (T, H + 2K, D), with queries and keys normed and rotated; the values, the last K heads, as they are.

    Args:
        norm_weights, cosine, sine: see `attention.attend_packed`.
    """
    given = (joined, norm_weights, cosine, sine, epsilon, key_value_heads)
    return _TurnHeads.apply(*given) if torch.is_grad_enabled() else _turned(*given)


def scale_columns(matrix: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (matrix · columns) in `dtype`; the gradients are in the matrix's own."""
    return _ScaleColumns.apply(matrix, columns, dtype) if torch.is_grad_enabled() else _scaled(matrix, columns, dtype)


@compiled_on_gpu()
def _scaled(matrix: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    return (matrix * columns).to(dtype)


@compiled_on_gpu()
def _scaled_backward(grad: Tensor, matrix: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    grad = grad.to(matrix.dtype)
    return grad * columns, (grad * matrix).sum(dim=0)


@compiled_on_gpu("hidden")
def _normalised(hidden: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
    return (hidden * _scale(hidden, epsilon)).to(dtype)


@compiled_on_gpu("grad", "hidden")
def _normalised_backward(grad: Tensor, hidden: Tensor, epsilon: float) -> Tensor:
    scale = _scale(hidden, epsilon)
    return _unnormed(grad.float(), hidden * scale, scale)


@compiled_on_gpu("gate_up")
def gated(gate_up: Tensor) -> Tensor:
    """Return silu(gate) · up of (tokens, 2 · intermediate)."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (gate * torch.sigmoid(gate) * up).to(gate_up.dtype)


@compiled_on_gpu("grad", "gate_up")
def gated_backward(grad: Tensor, gate_up: Tensor) -> Tensor:
    """Return the gradient of (tokens, 2 · intermediate) from that of `gated`."""
    (gate, up), grad = gate_up.float().chunk(2, dim=-1), grad.float()
    share = torch.sigmoid(gate)
    grad_gate = grad * up * share * (1 + gate * (1 - share))
    return torch.cat([grad_gate, grad * gate * share], dim=-1).to(gate_up.dtype)


@compiled_on_gpu("joined", "cosine", "sine")
def turned_alone(joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float, key_value_heads: int) -> Tensor:
    """Return the queries and keys of `turn_heads` without the values, (T, H + K, D); no gradient is recorded."""
    return _rotated(joined[:, :-key_value_heads], norm_weights, cosine, sine, epsilon)


@compiled_on_gpu("joined", "cosine", "sine")
def _turned(joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float, key_value_heads: int) -> Tensor:
    turned = _rotated(joined[:, :-key_value_heads], norm_weights, cosine, sine, epsilon)
    return torch.cat([turned, joined[:, -key_value_heads:]], dim=1)


@compiled_on_gpu("grad", "joined", "cosine", "sine")
def _turned_backward(
    grad: Tensor, joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float, key_value_heads: int, are_norms_tuned: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of `joined` and, token by token, of the norms' weights where they are tuned.

    Their sum over tokens is not taken here: how a compiled sum is cut depends on its length, and the length is a variable.
    """
    first, second = grad[:, :-key_value_heads].float().chunk(2, dim=-1)
    cosine, sine = cosine.float(), sine.float()
    grad_turned = torch.cat([first * cosine + second * sine, second * cosine - first * sine], dim=-1)  # the rotation back
    grad_weights = None
    if norm_weights is not None:
        raw = joined[:, :-key_value_heads].float()
        scale = _scale(raw, epsilon)
        if are_norms_tuned:
            grad_weights = (grad_turned * raw * scale).to(joined.dtype)
        grad_turned = _unnormed(grad_turned * norm_weights.float(), raw * scale, scale)
    return torch.cat([grad_turned.to(joined.dtype), grad[:, -key_value_heads:]], dim=1), grad_weights


def _rotated(raw: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float) -> Tensor:
    """Return queries and keys, normed where there are norms, and rotated."""
    turning = raw.float()
    if norm_weights is not None:
        turning = turning * _scale(turning, epsilon) * norm_weights.float()
    first, second = turning.chunk(2, dim=-1)
    cosine, sine = cosine.float(), sine.float()
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1).to(raw.dtype)


def _scale(values: Tensor, epsilon: float) -> Tensor:
    """Return 1 / √(mean(x²) + ε) over the last dimension, kept."""
    return torch.rsqrt(values.float().square().mean(dim=-1, keepdim=True) + epsilon)


def _unnormed(grad: Tensor, normed: Tensor, scale: Tensor) -> Tensor:
    """Return the gradient of x from that of x̂ = x · scale: scale · (g − x̂ · mean(g · x̂))."""
    return scale * (grad - normed * (grad * normed).mean(dim=-1, keepdim=True))


class _ScaleColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, columns, dtype):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(matrix, columns)
        return _scaled(matrix, columns, dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return *_scaled_backward(grad, *ctx.saved_tensors), None


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, epsilon, dtype):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(hidden)
        ctx.epsilon = epsilon
        return _normalised(hidden, epsilon, dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return _normalised_backward(grad, *ctx.saved_tensors, ctx.epsilon), None, None


class _TurnHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx, joined, norm_weights, cosine, sine, epsilon, key_value_heads):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(joined, norm_weights, cosine, sine)
        ctx.numbers = epsilon, key_value_heads
        return _turned(joined, norm_weights, cosine, sine, epsilon, key_value_heads)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        grad_joined, by_token = _turned_backward(grad, *ctx.saved_tensors, *ctx.numbers, ctx.needs_input_grad[1])
        return grad_joined, None if by_token is None else by_token.sum(dim=0, dtype=torch.float32).to(by_token.dtype), None, None, None, None
