"""The packed forward of a Qwen3: our pass over the module's own parameters, equal to transformers' to float32 accuracy.

Residual stream and norms float32; products in the asked precision; attention padded only inside each block.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from components.modeling.attention import attend_packed, rotated_heads
from components.modeling.fused import gated_silu, normalise
from components.modeling.packing import PackedBatch
from components.modeling.precision import Precision
from components.modeling.weights import DecoderWeights, LayerWeights, decoder_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Collect = Callable[[Tensor, Tensor], None]  # keys and values, (tokens, key-value heads, size)


def forward_packed(model: "PreTrainedModel", batch: PackedBatch, *, precision: Precision) -> Tensor:
    """Return the final hidden state of every token, after the last norm: (tokens, hidden), float32.

    Raises:
        SettingsError: the model's architecture is not supported.
    """
    return forward_weights(decoder_weights(model, precision=precision), batch)


def forward_weights(weights: DecoderWeights, batch: PackedBatch, *, collect: Collect | None = None) -> Tensor:
    """Do `forward_packed` with weights already read; `collect` is handed each layer's keys and values (without gradient)."""
    rotary = rotary_tables(weights, batch.positions_T)
    hidden_TD = weights.embedding.index_select(0, batch.ids_T)
    for layer in weights.layers:
        hidden_TD = forward_layer(hidden_TD, layer=layer, weights=weights, rotary=rotary, batch=batch, collect=collect)
    return final_norm(hidden_TD, weights)


def forward_layer(
    hidden_TD: Tensor, *, layer: LayerWeights, weights: DecoderWeights, rotary: tuple[Tensor, Tensor], batch: PackedBatch, collect: Collect | None = None
) -> Tensor:
    """Run one decoder layer over packed tokens: (tokens, hidden), float32, in and out.

    Args:
        rotary: from `rotary_tables`.
    """
    cosine, sine = rotary
    joined = project_heads(hidden_TD, layer, weights)
    if collect:
        collect(*rotated_heads(joined.detach(), layer.head_norms, cosine, sine, weights.shape)[1:])
    attended = attend_packed(joined, layer.head_norms, cosine=cosine, sine=sine, shape=weights.shape, batch=batch)
    hidden_TD = hidden_TD + functional.linear(attended, layer.output)
    return hidden_TD + feed_forward(hidden_TD, layer, weights)


def final_norm(hidden_TD: Tensor, weights: DecoderWeights) -> Tensor:
    """Return what the head reads: the last norm, weight applied, float32."""
    return normalise(hidden_TD, epsilon=weights.norm_epsilon, dtype=torch.float32) * weights.final_norm


def rotary_tables(weights: DecoderWeights, positions_T: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each position's angles, (tokens, 1, head size / 2), in the pass's dtype."""
    angles = (positions_T[:, None].float() * weights.inverse_frequencies)[:, None]
    return angles.cos().to(weights.dtype), angles.sin().to(weights.dtype)


def project_heads(hidden_TD: Tensor, layer: LayerWeights, weights: DecoderWeights) -> Tensor:
    """Return raw queries, keys and values, (tokens, heads + 2 key-value heads, size)."""
    normed = normalise(hidden_TD, epsilon=weights.norm_epsilon, dtype=weights.dtype)
    return functional.linear(normed, layer.query_key_value).unflatten(-1, (-1, weights.shape.size))


def feed_forward(hidden_TD: Tensor, layer: LayerWeights, weights: DecoderWeights) -> Tensor:
    """Return the gated feed-forward part of a layer, before its residual sum."""
    normed = normalise(hidden_TD, epsilon=weights.norm_epsilon, dtype=weights.dtype)
    return functional.linear(gated_silu(functional.linear(normed, layer.gate_up)), layer.down)
