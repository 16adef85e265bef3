"""The one door from packed batches to what losses read: log-probabilities, or scores, of chosen tokens.

A transformers model is read directly. A `PackedModel` (a model whose parameters an engine keeps in parts) is called, so
that its hooks run; it computes the same with the same functions.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional

from components.modeling.forward import forward_packed
from components.modeling.logprobs import logprobs_and_entropy
from components.modeling.packing import PackedBatch
from components.modeling.precision import Precision

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
) -> tuple[Tensor, Tensor]:
    """Return log p of each target and the entropy there (zeros unless asked for), two (targets,) float32 tensors.

    Args:
        predictors_T: the token of the batch that predicts each target.
        temperature: divides the logits.
    """
    if is_packed(model):
        return model(
            batch=batch, tokens_A=predictors_T, targets_A=targets_T, temperature=temperature, precision=precision, with_entropy=with_entropy
        )
    hidden_TD = forward_packed(model, batch, precision=precision).index_select(0, predictors_T)
    return logprobs_and_entropy(
        model, hidden_TD, targets_T, temperature=temperature, precision=precision, with_entropy=with_entropy
    )


def token_scores(model: "PreTrainedModel | Any", batch: PackedBatch, tokens_A: Tensor, *, precision: Precision) -> Tensor:
    """Return the scalar head's value at chosen tokens, (tokens,), float32."""
    if is_packed(model):
        return model(batch=batch, tokens_A=tokens_A, precision=precision)
    hidden_TD = forward_packed(model, batch, precision=precision).index_select(0, tokens_A)
    return functional.linear(hidden_TD.float(), model.score.weight)[:, 0]


def is_packed(model: Any) -> bool:
    """Say whether a model, or what an engine wrapped it in, is a `PackedModel`."""
    return bool(getattr(model, "is_packed", False))
