"""Next-token loss of packed examples: the sum over target tokens, to be divided by the whole optimiser batch's count.

L = −(1/N) Σ log p(token | before it), N the target tokens of the optimiser step: so 8 micro-batches of 1 equal 1 of 8.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.modeling.micro_batches import cut_by_tokens
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_sequences
from components.modeling.precision import Precision
from components.modeling.reading import read_at
from components.training.supervised.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def summed_loss(model: "PreTrainedModel", examples: Sequence[Example], *, precision: Precision, recompute: bool = False) -> Tensor:
    """Return the sum of −log p over the examples' target tokens, a scalar in nats; `recompute`: see `forward_packed`."""
    # The last token predicts nothing: it is left out of the pass.
    is_predictor = torch.tensor([flag for example in examples for flag in example.is_target[1:]])
    targets = torch.tensor([token for example in examples for token in example.ids[1:]])
    predictors_A = is_predictor.nonzero()[:, 0]
    batch = read_at(pack_sequences([example.ids[:-1] for example in examples]), predictors_A)
    logprobs_A, _ = token_logprobs(model, batch, targets.index_select(0, predictors_A), precision=precision, recompute=recompute)
    return -logprobs_A.sum()


def micro_batches(examples: Sequence[Example], *, micro_tokens: int) -> list[list[Example]]:
    """Cut examples, ordered by length, into lists of at most `micro_tokens` tokens (at least one example each)."""
    longest_first = sorted(examples, key=lambda item: -len(item.ids))
    return cut_by_tokens(longest_first, tokens=lambda item: len(item.ids), micro_tokens=micro_tokens)


@torch.no_grad()
def mean_loss(
    model: "PreTrainedModel", examples: Sequence[Example], *, precision: Precision, micro_tokens: int
) -> float:
    """Return the mean loss in nats a target token over examples."""
    total = sum(
        float(summed_loss(model, part, precision=precision))
        for part in micro_batches(examples, micro_tokens=micro_tokens)
    )
    return total / max(1, sum(example.targets for example in examples))
