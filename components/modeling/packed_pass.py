"""The one door from packed batches to what losses read: log-probabilities, or a scalar head's values, of chosen tokens.

A transformers model is read directly. A `PackedDecoder` (a model whose parameters an engine keeps in parts) is called, so
that its hooks run; it computes the same with the same functions.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from components.modeling.forward import forward_packed
from components.modeling.logprobs import logprobs_and_entropy
from components.modeling.packing import PackedBatch
from components.modeling.precision import Precision
from components.modeling.scalar_head import scores_at
from components.modeling.weights import AdapterUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def token_logprobs(
    model: "PreTrainedModel | Any",
    batch: PackedBatch,
    predictors_T: Tensor,
    targets_T: Tensor,
    *,
    temperature: float = 1.0,
    precision: Precision,
    with_entropy: bool = False,
    adapters: AdapterUse = "apart",
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return log p of each target and the entropy there (zeros unless asked for), two (targets,) float32 tensors.

    Args:
        predictors_T: the token of the batch that predicts each target.
        temperature: divides the logits.
        adapters: how a transformers model's are read; a packed one has none.
        recompute: see `forward_packed`.
    """
    if is_packed(model):
        return model(
            batch=batch, tokens_A=predictors_T, targets_A=targets_T, temperature=temperature, precision=precision,
            with_entropy=with_entropy, recompute=recompute,
        )  # fmt: skip
    hidden_TD = forward_packed(model, batch, precision=precision, adapters=adapters, recompute=recompute)
    device = hidden_TD.device
    return logprobs_and_entropy(
        model, hidden_TD.index_select(0, predictors_T.to(device)), targets_T.to(device), temperature=temperature, precision=precision, with_entropy=with_entropy
    )


def token_scores(
    model: "PreTrainedModel | Any", batch: PackedBatch, tokens_A: Tensor, *, precision: Precision, recompute: bool = False
) -> Tensor:
    """Return the scalar head's value at tokens of the batch, (tokens,), float32; `recompute`: see `forward_packed`."""
    if is_packed(model):
        return model(batch=batch, tokens_A=tokens_A, precision=precision, recompute=recompute)
    hidden_TD = forward_packed(model, batch, precision=precision, recompute=recompute)
    return scores_at(hidden_TD, tokens_A.to(hidden_TD.device), model.score.weight)


def is_packed(model: Any) -> bool:
    """Say whether a model, or what an engine wrapped it in, is a `PackedDecoder`."""
    return bool(getattr(model, "is_packed", False))
