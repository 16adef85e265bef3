"""A Qwen3's weights as our forward reads them: the module's own parameters, q/k/v and gate/up joined, cast once a pass.

Casting and joining are part of the graph, so gradients reach the module's float32 parameters: bfloat16 here means
float32 master weights, products in bfloat16, norms, softmax and residual stream in float32.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.errors import SettingsError
from components.modeling.attention import HeadShape
from components.modeling.precision import Precision, dtype_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer, in the pass's dtype. The weights of the norms before them are folded into the matrices."""

    query_key_value: Tensor  # ((heads + 2 key-value heads) * head size, hidden)
    head_norms: Tensor  # (heads + key-value heads, head size); the queries' scaled by 1 / sqrt(head size)
    output: Tensor  # (hidden, heads * head size)
    gate_up: Tensor  # (2 * intermediate, hidden)
    down: Tensor  # (hidden, intermediate)


@dataclass(frozen=True)
class DecoderWeights:
    """A whole decoder without its head, and the numbers its forward needs."""

    embedding: Tensor  # (vocabulary, hidden), float32
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor
    shape: HeadShape
    norm_epsilon: float
    inverse_frequencies: Tensor  # (head size / 2,), float32
    dtype: torch.dtype


def decoder_weights(model: "PreTrainedModel", *, precision: Precision) -> DecoderWeights:
    """Read the weights of a Qwen3 with any head (causal, classification).

    Raises:
        SettingsError: another architecture, attention biases, sliding windows or a scaled rotary embedding.
    """
    config, dtype = model.config, dtype_of(precision)
    refuse_unsupported(config)
    decoder = model.base_model
    return DecoderWeights(
        embedding=decoder.embed_tokens.weight,
        layers=tuple(layer_weights(layer, head_shape(config), dtype) for layer in decoder.layers),
        final_norm=decoder.norm.weight,
        shape=head_shape(config),
        norm_epsilon=config.rms_norm_eps,
        inverse_frequencies=decoder.rotary_emb.inv_freq.float(),
        dtype=dtype,
    )


def head_shape(config: object) -> HeadShape:
    """Return the heads of a supported configuration."""
    return HeadShape(config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.rms_norm_eps)  # type: ignore[attr-defined]


def layer_weights(layer: torch.nn.Module, shape: HeadShape, dtype: torch.dtype) -> LayerWeights:
    """Read one decoder layer."""
    attention, mlp = layer.self_attn, layer.mlp
    joined = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    head_norms = [
        (attention.q_norm.weight * shape.size**-0.5).expand(shape.heads, -1),
        attention.k_norm.weight.expand(shape.key_value_heads, -1),
    ]
    return LayerWeights(
        query_key_value=(joined * layer.input_layernorm.weight).to(dtype),
        head_norms=torch.cat(head_norms).to(dtype),
        output=attention.o_proj.weight.to(dtype),
        gate_up=(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight).to(
            dtype
        ),
        down=mlp.down_proj.weight.to(dtype),
    )


def refuse_unsupported(config: object) -> None:
    """Check that our forward computes what a configuration asks for.

    Raises:
        SettingsError: it does not.
    """
    kind = getattr(config, "model_type", "unknown")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    windows = "sliding_attention" in (getattr(config, "layer_types", None) or [])
    if kind != "qwen3" or rope != "default" or windows or getattr(config, "attention_bias", False):
        raise SettingsError(
            f"model.folder: architecture {kind!r} (rotary type {rope!r}, sliding windows {windows}) is not supported by the "
            "training engine; use a Qwen3 model with full attention"
        )
