"""Log-probabilities of a group's answers under a model, the prompt laid in once a group (a tree; exact)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from components.modeling.packed_batch import PackedBatch
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_trees
from components.modeling.precision import Precision
from components.modeling.reading import read_answers
from components.modeling.weights import AdapterUse
from components.training.policy.groups import LiveGroup


def pack_groups(groups: Sequence[LiveGroup], *, device: torch.device | None = None) -> tuple[PackedBatch, Tensor]:
    """Lay out groups for `answer_logprobs`: the packed batch, read where each answer token is predicted, and those tokens' ids.

    Args:
        device: the model's; None: the processor.
    """
    batch = pack_trees([group.prompt_ids for group in groups], [[answer.ids for answer in group.answers] for group in groups])
    batch, targets_T = read_answers(batch, answers_per_prompt=[len(group.answers) for group in groups])
    return (batch, targets_T) if device is None else (batch.on(device), targets_T.to(device))


def answer_logprobs(
    model: PreTrainedModel, packed: tuple[PackedBatch, Tensor], *, temperature: float, precision: Precision, with_entropy: bool = True,
    adapters: AdapterUse = "apart", recompute: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return log-probability and entropy (zeros unless asked for) of every answer token, at the sampling temperature.

    Args:
        packed: from `pack_groups`; shared by policy and reference.
        temperature: divides the logits before the float32 log-softmax.
        adapters: "off" for the reference of a model with adapters.
        recompute: see `forward_packed`.
    Returns:
        Two (answer tokens,) float32 tensors, in the order groups → answers → tokens, in nats; both carry a
        gradient.
    """
    batch, targets_T = packed
    return token_logprobs(
        model, batch, targets_T, temperature=temperature, precision=precision, with_entropy=with_entropy,
        adapters=adapters, recompute=recompute,
    )  # fmt: skip
