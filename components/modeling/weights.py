"""A decoder's weights as our forward reads them: the module's own parameters, q/k/v and gate/up joined, cast once a pass.

Casting and joining are part of the graph, so gradients reach the module's float32 parameters: bfloat16 here means
float32 master weights, products in bfloat16 (`precision.py`: on what hardware how), norms, softmax and residual stream in
float32.

Three families of one shape: Qwen3 (norms on query and key heads), Qwen2 (biases on q/k/v) and Llama (neither). The norm
before a matrix is folded into its columns, and the 1/√(head size) of the scores into the query norm, or, where there is
none, into the query rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from components.errors import SettingsError
from components.modeling.adapters import LowRank, low_rank_of
from components.modeling.attention import HeadShape
from components.modeling.fused import scale_columns
from components.modeling.precision import Precision, Products, products_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

AdapterUse = Literal["apart", "merged", "off"]  # beside the matrices, summed into them, or left out
FAMILIES = ("qwen3", "qwen2", "llama")
FIXED_ROTARY = ("default", "linear", "llama3")  # frequencies that do not depend on the length, and no scale of their own


@dataclass(frozen=True)
class LayerAdapters:
    """What adapters add to a layer's matrices, as products take them; None where a matrix has none, or holds it already."""

    query_key_value: LowRank | None = None
    output: LowRank | None = None
    gate_up: LowRank | None = None
    down: LowRank | None = None


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer: matrices as products take them (`Products.operand`), the weights of the norms before folded in; the rest in the pass's dtype."""

    query_key_value: Tensor  # ((heads + 2 key-value heads) * head size, hidden)
    head_norms: Tensor | None  # (heads + key-value heads, head size); the queries' scaled by 1 / sqrt(head size)
    output: Tensor  # (hidden, heads * head size)
    gate_up: Tensor  # (2 * intermediate, hidden)
    down: Tensor  # (hidden, intermediate)
    products: Products
    query_key_value_bias: Tensor | None = None
    adapters: LayerAdapters = LayerAdapters()


@dataclass(frozen=True)
class DecoderWeights:
    """A whole decoder without its head, and the numbers its forward needs."""

    embedding: Tensor  # (vocabulary, hidden), float32
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor
    shape: HeadShape
    norm_epsilon: float
    inverse_frequencies: Tensor  # (head size / 2,), float32
    products: Products

    @property
    def dtype(self) -> torch.dtype:
        """The pass's dtype: of all activations but the residual stream."""
        return self.products.dtype


def decoder_weights(model: "PreTrainedModel", *, precision: Precision, adapters: AdapterUse = "apart") -> DecoderWeights:
    """Read the weights of a decoder with any head (causal, classification).

    Args:
        adapters: how LoRA adapters are read, where the model carries any (adapters.py says which is for what).
    Raises:
        SettingsError: another architecture, or a variant of one that this forward does not compute.
    """
    config, products = model.config, products_in(precision)
    refuse_unsupported(config)
    decoder = model.base_model
    return DecoderWeights(
        embedding=decoder.embed_tokens.weight,
        layers=tuple(layer_weights(layer, head_shape(config), products, adapters=adapters) for layer in decoder.layers),
        final_norm=decoder.norm.weight,
        shape=head_shape(config),
        norm_epsilon=config.rms_norm_eps,
        inverse_frequencies=decoder.rotary_emb.inv_freq.float(),
        products=products,
    )


def head_shape(config: object) -> HeadShape:
    """Return the heads of a supported configuration."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads  # type: ignore[attr-defined]
    return HeadShape(config.num_attention_heads, config.num_key_value_heads, size, config.rms_norm_eps)  # type: ignore[attr-defined]


def layer_weights(layer: nn.Module, shape: HeadShape, products: Products, *, adapters: AdapterUse = "apart") -> LayerWeights:
    """Read one decoder layer."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    head_norms = _head_norms(attention, shape)
    rows = _query_scale(attention, shape) if head_norms is None else None
    bias = None if attention.q_proj.bias is None else torch.cat([linear.bias for linear in projections])
    fold = {"products": products, "adapters": adapters}
    query_key_value, qkv_change = _matrix(projections, columns=layer.input_layernorm.weight, rows=rows, **fold)
    output, output_change = _matrix((attention.o_proj,), **fold)
    gate_up, gate_change = _matrix((mlp.gate_proj, mlp.up_proj), columns=layer.post_attention_layernorm.weight, **fold)
    down, down_change = _matrix((mlp.down_proj,), **fold)
    return LayerWeights(
        query_key_value=query_key_value,
        head_norms=None if head_norms is None else head_norms.to(products.dtype),
        output=output,
        gate_up=gate_up,
        down=down,
        products=products,
        query_key_value_bias=None if bias is None else (bias if rows is None else bias * rows).to(products.dtype),
        adapters=LayerAdapters(qkv_change, output_change, gate_change, down_change),
    )


def refuse_unsupported(config: object) -> None:
    """Check that our forward computes what a configuration asks for.

    Raises:
        SettingsError: it does not; names the setting of the model's config.json.
    """
    kind = getattr(config, "model_type", "unknown")
    rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    problems = []
    if kind not in FAMILIES:
        problems.append(f"architecture {kind!r}")
    if rotary not in FIXED_ROTARY:
        problems.append(f"rotary type {rotary!r}")
    if "sliding_attention" in (getattr(config, "layer_types", None) or []):
        problems.append("sliding windows")
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        problems.append("biases outside q/k/v (attention_bias, mlp_bias)")
    if getattr(config, "hidden_act", "silu") != "silu":
        problems.append(f"activation {getattr(config, 'hidden_act', None)!r}")
    if problems:
        raise SettingsError(
            f"model.folder: {', '.join(problems)} not supported by the training engine; use a {', '.join(FAMILIES[:-1])} or "
            f"{FAMILIES[-1]} model with full attention and a rotary embedding of type {', '.join(FIXED_ROTARY)}"
        )


def _head_norms(attention: nn.Module, shape: HeadShape) -> Tensor | None:
    if not hasattr(attention, "q_norm"):
        return None
    queries = (attention.q_norm.weight * shape.size**-0.5).expand(shape.heads, -1)
    return torch.cat([queries, attention.k_norm.weight.expand(shape.key_value_heads, -1)])


def _query_scale(attention: nn.Module, shape: HeadShape) -> Tensor:
    scale = attention.q_proj.weight.new_ones((shape.heads + 2 * shape.key_value_heads) * shape.size)
    scale[: shape.heads * shape.size] = shape.size**-0.5
    return scale


def _matrix(
    linears: Sequence[nn.Module], *, products: Products, adapters: AdapterUse, columns: Tensor | None = None, rows: Tensor | None = None
) -> tuple[Tensor, LowRank | None]:
    """Join linear layers over their outputs; fold scales in; return the matrix and what adapters add to it."""
    matrix = linears[0].weight if len(linears) == 1 else torch.cat([linear.weight for linear in linears])
    change = None if adapters == "off" else _joined_change(linears)
    if change is not None and adapters == "merged":
        matrix, change = matrix + change.up @ change.down, None
    down, up = (None, None) if change is None else (change.down, change.up)
    if columns is not None:
        matrix, down = scale_columns(matrix, columns, dtype=products.dtype if rows is None else matrix.dtype), down if down is None else down * columns
    if rows is not None:
        matrix, up = matrix * rows[:, None], up if up is None else up * rows[:, None]
    return products.operand(matrix), None if down is None or up is None else LowRank(products.operand(down), products.operand(up))


def _joined_change(linears: Sequence[nn.Module]) -> LowRank | None:
    """Return the linear layers' changes as one: downs stacked, ups along the diagonal."""
    changes = [low_rank_of(linear) for linear in linears]
    if all(change is None for change in changes):
        return None
    ups = [linear.weight.new_zeros(linear.out_features, 0) if change is None else change.up for linear, change in zip(linears, changes, strict=True)]
    return LowRank(torch.cat([change.down for change in changes if change is not None]), torch.block_diag(*ups))
