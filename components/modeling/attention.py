"""Exact attention over packed tokens on a CPU: head norm, rotary embedding, batched products, one backward of its own.

softmax(q kᵀ / √d + mask) v, blocks padded to their longest segment. Measured on a 2-core CPU, supervised tuning
of 2.8 million parameters in float32: 13,600 tokens/s with these products, 12,500 with PyTorch's flash kernels. Scores are held,
so batches with longer keys than `LONGEST_HELD` use PyTorch's flash kernels. A GPU attends in bfloat16 to segments at their own
lengths (flash_layout.py), in float32 as a processor does to long ones.

Shapes: T tokens, H query heads, K key-value heads, D head size; in a block N segments, I queries, J keys.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from components.modeling import fused_gpu
from components.modeling.flash_layout import FlashLayout
from components.modeling.fused import normalise_backward, normalise_forward, rotate
from components.modeling.head_layout import HeadLayout
from components.modeling.packed_batch import AttentionBlock, AttentionPlan

LONGEST_HELD = 640  # keys; above it scores are not held in memory


@dataclass(frozen=True)
class HeadShape:
    """Query heads, key-value heads, head size and the head norm's epsilon."""

    heads: int
    key_value_heads: int
    size: int
    epsilon: float

    def norms_of_keys(self, norm_weights: Tensor | None) -> Tensor | None:
        """Return the keys' weights, (K, D), of the queries' and keys', (H + K, D)."""
        return None if norm_weights is None else norm_weights[self.heads :]


def attend_packed(
    joined: Tensor, norm_weights: Tensor | None, *, cosine: Tensor, sine: Tensor, shape: HeadShape, plan: AttentionPlan, queries: Tensor | None = None
) -> Tensor:
    """Return the attended values of the plan's queries, (queries, H · D).

    Args:
        joined: (T, H + 2K, D): raw queries, keys and values; with `queries` (T, 2K, D): raw keys and values.
        queries: (queries, H, D): raw queries of the plan alone, where it `takes_queries_apart`.
        norm_weights: (H + K, D): weights of the query and key norms, the queries' also scaled by 1/√D; None: heads are not
            normed, and the raw queries come scaled.
        cosine, sine: (T, 1, D / 2).
    """
    if plan.flash is not None and takes_flash(joined):
        return _attend_flash(joined, norm_weights, cosine, sine, shape, plan.flash)
    if _is_held(plan, joined.device):
        if plan.kept is not None and queries is None:
            queries, joined = joined[:, : shape.heads].index_select(0, plan.kept), joined[:, shape.heads :]
        return _HeldAttention.apply(joined, queries, norm_weights, cosine, sine, shape, plan)
    queries, keys, values = rotated_heads(joined, norm_weights, cosine, sine, shape)
    parts = [_attend_padded(queries, keys, values, block.on(joined.device)) for block in plan.blocks]
    return torch.cat(parts).index_select(0, plan.unpad_Q)


def takes_queries_apart(plan: AttentionPlan, device: torch.device) -> bool:
    """Say whether `attend_packed` takes the queries of the plan's tokens alone, so that none are computed for the others."""
    return plan.kept is not None and _is_held(plan, device)


def _is_held(plan: AttentionPlan, device: torch.device) -> bool:
    return device.type == "cpu" and all(block.key_length <= LONGEST_HELD for block in plan.blocks)


def turned_heads(
    raw: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, epsilon: float, *, out: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return scaled queries or keys, (T, any heads, D), normed and rotated, in `out`; and the norm's x̂ and scale. No gradient is recorded."""
    normed, scale = None, None
    if norm_weights is not None:
        normed, scale = normalise_forward(raw, epsilon)
        raw = normed * norm_weights
    return rotate(raw, cosine, sine, out=out), normed, scale


def turned_queries_and_keys(joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, shape: HeadShape) -> Tensor:
    """Return scaled queries and keys, normed and rotated, (T, H + K, D). No gradient is recorded."""
    if joined.is_cuda:
        return fused_gpu.turned_alone(joined, norm_weights, cosine, sine, shape.epsilon, shape.key_value_heads)
    return turned_heads(joined[:, : -shape.key_value_heads], norm_weights, cosine, sine, shape.epsilon)[0]


def rotated_heads(
    joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, shape: HeadShape
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scaled queries, keys and values (T, K, D), normed and rotated; differentiable by autograd.

    On a processor `joined` may hold keys and values alone, and `norm_weights` the keys'; then there are no queries.
    """
    if joined.is_cuda:
        turned = fused_gpu.turn_heads(joined, norm_weights, cosine, sine, shape.epsilon, shape.key_value_heads)
        return turned.split([shape.heads, shape.key_value_heads, shape.key_value_heads], dim=1)  # type: ignore[return-value]
    normed = joined[:, : -shape.key_value_heads]
    if norm_weights is not None:
        normed = functional.rms_norm(normed, (shape.size,), None, shape.epsilon) * norm_weights
    first, second = normed.chunk(2, dim=-1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned[:, : -shape.key_value_heads], turned[:, -shape.key_value_heads :], joined[:, -shape.key_value_heads :]


def takes_flash(joined: Tensor) -> bool:
    """Say whether the kernel for segments of any length takes these heads: bfloat16 on a GPU since Ampere, sizes in eights up to 256."""
    return joined.is_cuda and joined.dtype is torch.bfloat16 and joined.shape[-1] % 8 == 0 and joined.shape[-1] <= 256 and _is_ampere(joined.device)


@functools.cache
def _is_ampere(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _attend_flash(joined: Tensor, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor, shape: HeadShape, layout: FlashLayout) -> Tensor:
    """Do `attend_packed` by a GPU's flash attention at the segments' own lengths."""
    from torch.nn.attention.varlen import varlen_attn

    turned = fused_gpu.turn_heads(joined, norm_weights, cosine, sine, shape.epsilon, shape.key_value_heads)
    queries, keys_and_values = turned.split([shape.heads, 2 * shape.key_value_heads], dim=1)
    if layout.keys is not None:
        keys_and_values = keys_and_values.index_select(0, layout.keys)
    keys, values = keys_and_values.split(shape.key_value_heads, dim=1)
    attended = varlen_attn(
        queries, keys, values, layout.query_ends, layout.key_ends, layout.longest_query, layout.longest_key,
        scale=1.0, window_size=(-1, 0), enable_gqa=True,
    )  # fmt: skip
    attended = attended.flatten(1)
    return attended if layout.kept is None else attended.index_select(0, layout.kept)


def _attend_padded(queries: Tensor, keys: Tensor, values: Tensor, block: AttentionBlock) -> Tensor:
    padded = [
        part.flatten(1).index_select(0, index).view(block.segments, -1, *part.shape[1:]).transpose(1, 2)
        for part, index in ((queries, block.queries), (keys, block.keys), (values, block.keys))
    ]
    is_grouped = block.mask is None or queries.device.type == "cpu"
    if not is_grouped:
        # A GPU's kernels that take a mask take no grouped heads; without one of them all scores would be held.
        per_head = queries.shape[1] // keys.shape[1]
        padded[1:] = [part.repeat_interleave(per_head, dim=1) for part in padded[1:]]
    attended = functional.scaled_dot_product_attention(
        *padded, attn_mask=block.mask, is_causal=block.mask is None, enable_gqa=is_grouped, scale=1.0
    )
    return attended.transpose(1, 2).flatten(2).flatten(0, 1)


class _HeldAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, joined, queries, norm_weights, cosine, sine, shape, plan):  # type: ignore[no-untyped-def]
        layout = HeadLayout.of(plan, heads=shape.heads, key_value_heads=shape.key_value_heads)
        raw = (joined,) if queries is None else (queries, joined)
        turns = _turns(layout, norm_weights, cosine, sine)
        rows = joined.new_empty(layout.rows, shape.size)
        norms = []
        for part, heads, turn in zip(raw, layout.parts(rows), turns, strict=True):
            heads[:, turn.heads :] = part[:, turn.heads :]
            norms += turned_heads(part[:, : turn.heads], turn.norm_weights, turn.cosine, turn.sine, shape.epsilon, out=heads[:, : turn.heads])[1:]
        gathered = rows.index_select(0, layout.gathered)
        outputs = gathered.new_empty(layout.outputs, shape.size)
        all_shares = []
        for block in layout.blocks:
            q, k, v = block.of(gathered, shape.key_value_heads)
            scores = torch.bmm(q, k.transpose(1, 2))
            scores.view(block.block.segments, shape.heads, -1, block.block.key_length).add_(block.block.bias(scores.dtype))
            shares = torch.softmax(scores, dim=-1)
            torch.bmm(shares, v, out=outputs[block.outputs].view_as(q))
            all_shares.append(shares)
        ctx.save_for_backward(norm_weights, cosine, sine, gathered, *norms, *all_shares)
        ctx.shape, ctx.layout = shape, layout
        return outputs.index_select(0, layout.spread).view(-1, shape.heads * shape.size)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        norm_weights, cosine, sine, gathered, *others = ctx.saved_tensors
        shape, layout = ctx.shape, ctx.layout
        turns = _turns(layout, norm_weights, cosine, sine)
        norms, all_shares = others[: 2 * len(turns)], others[2 * len(turns) :]
        padded_grad = functional.pad(grad.reshape(-1, shape.size), (0, 0, 0, 1)).index_select(0, layout.spread_back)
        grad_gathered = gathered.new_empty(len(gathered) + 1, shape.size)
        grad_gathered[-1] = 0  # the gradient of heads that no block holds
        for block, shares in zip(layout.blocks, all_shares, strict=True):
            q, k, v = block.of(gathered, shape.key_value_heads)
            grad_q, grad_k, grad_v = block.of(grad_gathered, shape.key_value_heads)
            out = padded_grad[block.outputs].view_as(q)
            grad_scores = torch._softmax_backward_data(torch.bmm(out, v.transpose(1, 2)), shares, -1, shares.dtype)
            torch.bmm(grad_scores, k, out=grad_q)
            torch.bmm(grad_scores.transpose(1, 2), q, out=grad_k)
            torch.bmm(shares.transpose(1, 2), out, out=grad_v)
        parts = layout.parts(layout.way_back.summed(grad_gathered))
        grad_weights = []
        for part, turn, normed, scale in zip(parts, turns, norms[::2], norms[1::2], strict=True):
            grad_turned = part[:, : turn.heads]
            unturned = rotate(grad_turned, turn.cosine, -turn.sine)  # a rotation's transpose is the rotation back
            if turn.norm_weights is None:
                grad_turned.copy_(unturned)
            else:
                grad_weights.append((unturned * normed).sum(dim=0, dtype=torch.float32).to(norm_weights.dtype))
                normalise_backward(unturned.mul_(turn.norm_weights), normed, scale.to(grad.dtype), out=grad_turned)
        grad_queries = parts[0] if len(parts) > 1 else None
        return parts[-1], grad_queries, torch.cat(grad_weights) if grad_weights else None, None, None, None, None


@dataclass(frozen=True)
class _Turn:
    """How the first heads of one of a layout's parts are normed and rotated; the values after them are not."""

    heads: int
    norm_weights: Tensor | None
    cosine: Tensor
    sine: Tensor


def _turns(layout: HeadLayout, norm_weights: Tensor | None, cosine: Tensor, sine: Tensor) -> tuple[_Turn, ...]:
    """Return the turn of each of `layout.parts`."""
    heads, key_heads = layout.heads, layout.key_value_heads
    if layout.kept_Q is None:
        return (_Turn(heads + key_heads, norm_weights, cosine, sine),)
    of_queries, of_keys = (None, None) if norm_weights is None else norm_weights.split([heads, key_heads])
    at_queries = (table.index_select(0, layout.kept_Q) for table in (cosine, sine))
    return _Turn(heads, of_queries, *at_queries), _Turn(key_heads, of_keys, cosine, sine)
