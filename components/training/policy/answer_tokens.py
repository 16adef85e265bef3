"""From a micro-batch's groups and scores to the loss's vocabulary, `AnswerTokens`: answers laid end to end, in order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from components.training.policy.groups import LiveGroup
from components.training.policy.losses.loss import AnswerTokens


def answer_tokens(
    batch: Sequence[LiveGroup],
    logprobs_T: Tensor,
    *,
    reference_T: Tensor | None,
    entropy_T: Tensor | None = None,
) -> AnswerTokens:
    """Return the tokens of a micro-batch.

    Args:
        logprobs_T: of every answer token under the policy, (tokens,), in the order of `pack_groups`; so are the others.
    """
    lengths_A = torch.tensor([len(answer.ids) for group in batch for answer in group.answers], device=logprobs_T.device)
    advantages_A = torch.tensor([value for group in batch for value in group.advantages], dtype=torch.float32, device=logprobs_T.device)
    return AnswerTokens(
        logprobs_T=logprobs_T,
        old_T=_old_logprobs(batch, logprobs_T.detach()),
        reference_T=reference_T,
        advantages_T=advantages_A.repeat_interleave(lengths_A),
        lengths_A=lengths_A,
        entropy_T=entropy_T,
    )


def sampler_logprobs(batch: Sequence[LiveGroup]) -> Tensor:
    """Return the log-probability the sampler gave each answer token, (tokens,), float32."""
    return torch.tensor([value for group in batch for answer in group.answers for value in answer.sampler_logprobs])


def _old_logprobs(batch: Sequence[LiveGroup], current_T: Tensor) -> Tensor:
    parts = current_T.split([group.answer_tokens for group in batch])
    return torch.cat([part if group.old_T is None else group.old_T for group, part in zip(batch, parts, strict=True)])
