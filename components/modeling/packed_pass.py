"""The one door from packed batches to what losses read: log-probabilities, or a scalar head's values, at the tokens read.

A transformers model is read directly. A `PackedDecoder` (a model whose parameters an engine keeps in parts) is called, so
that its hooks run; it computes the same with the same functions.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from components.modeling.forward import forward_packed
from components.modeling.logprobs import logprobs_and_entropy
from components.modeling.packed_batch import PackedBatch
from components.modeling.precision import Precision
from components.modeling.reading import in_asked_order
from components.modeling.scalar_head import scalar_scores
from components.modeling.weights import AdapterUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def token_logprobs(
    model: "PreTrainedModel | Any",
    batch: PackedBatch,
    targets_A: Tensor,
    *,
    temperature: float = 1.0,
    precision: Precision,
    with_entropy: bool = False,
    adapters: AdapterUse = "apart",
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return log p of each target and the entropy there (zeros unless asked for), two (targets,) float32 tensors.

    Args:
        batch: read at the tokens that predict the targets, in their order (reading.py).
        temperature: divides the logits.
        adapters: how a transformers model's are read; a packed one has none.
        recompute: see `forward_packed`.
    """
    if is_packed(model):
        return model(
            batch=batch, targets_A=targets_A, temperature=temperature, precision=precision, with_entropy=with_entropy, recompute=recompute
        )  # fmt: skip
    hidden_WD = forward_packed(model, batch, precision=precision, adapters=adapters, recompute=recompute)
    return logprobs_and_entropy(
        model, in_asked_order(hidden_WD, batch), targets_A.to(hidden_WD.device), temperature=temperature, precision=precision, with_entropy=with_entropy
    )


def token_scores(
    model: "PreTrainedModel | Any", batch: PackedBatch, *, precision: Precision, recompute: bool = False
) -> Tensor:
    """Return the scalar head's value at the tokens read, (tokens asked for,), float32; `recompute`: see `forward_packed`."""
    if is_packed(model):
        return model(batch=batch, precision=precision, recompute=recompute)
    hidden_WD = forward_packed(model, batch, precision=precision, recompute=recompute)
    return scalar_scores(in_asked_order(hidden_WD, batch), model.score.weight)


def is_packed(model: Any) -> bool:
    """Say whether a model, or what an engine wrapped it in, is a `PackedDecoder`."""
    return bool(getattr(model, "is_packed", False))
