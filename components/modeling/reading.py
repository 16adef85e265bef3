"""Which tokens of a packed batch are read: those that predict a token of the loss, or carry a score.

Nothing looks at the final hidden states of the others, so the last layer needs no more of them than their keys and values:
its queries, attention, output and feed-forward are computed for the tokens read alone (a GPU's flash attention, and its queries,
still for all). Exact: a layer's rows meet in attention only.
Of a conversation's tokens a fifth is read in supervised tuning, of a scored answer one.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from components.modeling.packed_batch import AttentionBlock, AttentionPlan, PackedBatch, ReadTokens
from components.modeling.packing import answer_targets


def read_answers(batch: PackedBatch, *, answers_per_prompt: Sequence[int]) -> tuple[PackedBatch, Tensor]:
    """Return a tree read where each of its answer tokens is predicted, in reading order, and those tokens' ids."""
    predictors_A, targets_A = answer_targets(batch, answers_per_prompt=answers_per_prompt)
    return read_at(batch, predictors_A), targets_A


def read_at(batch: PackedBatch, tokens_A: Tensor | Sequence[int]) -> PackedBatch:
    """Return the batch with `read` set to these of its tokens, in any order, repeated where several targets follow one.

    Call it before the batch is moved to a device: lengths are then known without waiting.
    """
    tokens_W, places_A = torch.as_tensor(tokens_A, dtype=torch.int64).unique(return_inverse=True)
    return replace(batch, read=ReadTokens(tokens_W, places_A, _narrowed(batch.attention, tokens_W)))


def _narrowed(plan: AttentionPlan, tokens_W: Tensor) -> AttentionPlan:
    """Return the plan of these queries alone; blocks and segments keep their keys, blocks with none of them are left out."""
    places = torch.full((len(plan.unpad_Q),), -1).index_copy_(0, tokens_W, torch.arange(len(tokens_W)))  # among those read
    slots = torch.full((sum(block.queries.numel() for block in plan.blocks),), -1).index_copy_(0, plan.unpad_Q, places)  # padding: -1
    blocks, unpad, start, offset = [], torch.empty_like(tokens_W), 0, 0
    for block in plan.blocks:
        mine = slots[start : start + block.queries.numel()].view(block.segments, -1)
        start += block.queries.numel()
        width = int((mine >= 0).sum(dim=1).max())
        if not width:
            continue
        columns = (mine < 0).to(torch.int8).argsort(dim=1, stable=True)[:, :width]  # the queries kept, in their order
        kept = mine.gather(1, columns)
        is_kept = kept >= 0
        blocks.append(_with_queries(block, columns, is_kept=is_kept))
        unpad[kept[is_kept]] = (offset + torch.arange(kept.numel()).view_as(kept))[is_kept]
        offset += kept.numel()
    return AttentionPlan(tuple(blocks), unpad, plan.segments, kept=tokens_W)


def _with_queries(block: AttentionBlock, columns: Tensor, *, is_kept: Tensor) -> AttentionBlock:
    """Return a block with these of each segment's queries; padding repeats token 0, as it does there, and sees every key."""
    queries = torch.where(is_kept, block.queries.view(block.segments, -1).gather(1, columns), 0)
    if block.mask is None:
        seen = torch.arange(block.key_length) <= columns[:, :, None]
    else:
        seen = block.mask[:, 0].gather(1, columns[:, :, None].expand(-1, -1, block.key_length))
    return AttentionBlock(queries.flatten(), block.keys, block.segments, (seen | ~is_kept[:, :, None])[:, None])


def in_asked_order(hidden_WD: Tensor, batch: PackedBatch) -> Tensor:
    """Return what a pass gave, (tokens read, hidden), in the order the tokens were asked for, repeated where they were.

    Raises:
        ValueError: no tokens were asked for.
    """
    if batch.read is None:
        raise ValueError("the batch says no tokens to read; call read_at on it first")
    return hidden_WD.index_select(0, batch.read.places_A.to(hidden_WD.device))
