"""Packed batches: only real tokens pass through the linear layers; padding exists inside attention alone.

A batch is a row of tokens cut into segments. A segment sees itself causally and, in a tree, the prompt before it:
so a prompt is packed once for all its answers (exact: an answer's tokens see what they would see in a row of its own).
Attention runs in blocks of segments of similar length (packed_batch.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from components.modeling.packed_batch import AttentionBlock, AttentionPlan, PackedBatch, Segment

BLOCK_SLACK = 1.5  # a block's longest segment over its shortest: above it, padding costs more than one call more (hidden 96 still gains at 2, 192 loses)
BLOCK_MINIMUM = 3  # segments a block holds before it is cut for slack


def pack_sequences(sequences: Sequence[Sequence[int]]) -> PackedBatch:
    """Pack sequences that do not see each other; `starts` and `lengths` are in their order."""
    lengths = [len(sequence) for sequence in sequences]
    starts = _starts(lengths)
    segments = [Segment(start, length) for start, length in zip(starts, lengths, strict=True)]
    attention = _join([_causal_block(group, starts, lengths) for group in _by_length(lengths)], segments)
    ids = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int64)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return PackedBatch(ids, positions, attention, tuple(starts), tuple(lengths))


def pack_trees(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]) -> PackedBatch:
    """Pack prompts, each once, with their answers (outer: prompts); `starts` list answers in reading order.

    The last prompt token predicts an answer's first token: see `answer_targets`.
    """
    prompt_lengths = [len(prompt) for prompt in prompts]
    flat = [answer for group in answers for answer in group]
    owner = [index for index, group in enumerate(answers) for _ in group]
    lengths = [len(answer) for answer in flat]
    prompt_starts = _starts(prompt_lengths)
    total = sum(prompt_lengths)
    starts = [total + start for start in _starts(lengths)]
    blocks = [_causal_block(group, prompt_starts, prompt_lengths) for group in _by_length(prompt_lengths)]
    nonempty = [index for index, length in enumerate(lengths) if length]
    for group in _by_length([lengths[index] for index in nonempty]):
        members = [nonempty[index] for index in group]
        blocks.append(
            _answer_block(
                members, starts, lengths, [(prompt_starts[owner[i]], prompt_lengths[owner[i]]) for i in members]
            )
        )
    ids = torch.tensor([token for item in (*prompts, *flat) for token in item], dtype=torch.int64)
    offsets = [torch.arange(length) for length in prompt_lengths]
    offsets += [torch.arange(length) + prompt_lengths[owner[index]] for index, length in enumerate(lengths)]
    segments = [Segment(start, length) for start, length in zip(prompt_starts, prompt_lengths, strict=True)]
    segments += [Segment(starts[i], lengths[i], prompt_starts[owner[i]], prompt_lengths[owner[i]]) for i in range(len(flat))]
    return PackedBatch(
        ids,
        torch.cat(offsets),
        _join(blocks, segments),
        tuple(starts),
        tuple(lengths),
        tuple(prompt_starts),
        tuple(prompt_lengths),
    )


def answer_targets(batch: PackedBatch, *, answers_per_prompt: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return, for every answer token of a tree in reading order, the token that predicts it and its own id.

    Returns:
        predictors_A and targets_A, int64, A the number of answer tokens; predictors index the batch's tokens.
    """
    owner = [index for index, count in enumerate(answers_per_prompt) for _ in range(count)]
    predictors: list[int] = []
    for index, (start, length) in enumerate(zip(batch.starts, batch.lengths, strict=True)):
        if length:
            last = batch.prompt_starts[owner[index]] + batch.prompt_lengths[owner[index]] - 1
            predictors += [last, *range(start, start + length - 1)]
    first = sum(batch.prompt_lengths)
    return torch.tensor(predictors, dtype=torch.int64), batch.ids_T[first:]


def _starts(lengths: Sequence[int]) -> list[int]:
    starts, total = [], 0
    for length in lengths:
        starts.append(total)
        total += length
    return starts


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group indices of non-empty segments by similar length, longest first."""
    order = sorted(
        (index for index, length in enumerate(lengths) if length), key=lambda index: (-lengths[index], index)
    )
    groups: list[list[int]] = []
    for index in order:
        group = groups[-1] if groups else None
        if group and (len(group) < BLOCK_MINIMUM or lengths[index] * BLOCK_SLACK >= lengths[group[0]]):
            group.append(index)
        else:
            groups.append([index])
    return groups


def _window(starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return token indices (segments, longest), 0 where padded, and the mask of real ones."""
    columns = torch.arange(int(lengths.max()))
    is_real = columns < lengths[:, None]
    return torch.where(is_real, starts[:, None] + columns, 0), is_real


def _causal_block(
    members: list[int], starts: Sequence[int], lengths: Sequence[int]
) -> tuple[AttentionBlock, Tensor, Tensor]:
    index, is_real = _window(torch.tensor([starts[i] for i in members]), torch.tensor([lengths[i] for i in members]))
    return AttentionBlock(index.flatten(), index.flatten(), len(members), None), index, is_real


def _answer_block(
    members: list[int], starts: Sequence[int], lengths: Sequence[int], prompts: list[tuple[int, int]]
) -> tuple[AttentionBlock, Tensor, Tensor]:
    own, own_real = _window(torch.tensor([starts[i] for i in members]), torch.tensor([lengths[i] for i in members]))
    before, before_real = _window(
        torch.tensor([start for start, _ in prompts]), torch.tensor([length for _, length in prompts])
    )
    width = own.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril() & own_real[:, None, :]
    causal |= torch.eye(width, dtype=torch.bool)  # a padded query sees itself, so that its row is not empty
    mask = torch.cat([before_real[:, None, :].expand(-1, width, -1), causal], dim=2)[:, None]
    keys = torch.cat([before, own], dim=1)
    return AttentionBlock(own.flatten(), keys.flatten(), len(members), mask), own, own_real


def _join(blocks: list[tuple[AttentionBlock, Tensor, Tensor]], segments: list[Segment]) -> AttentionPlan:
    """Return the blocks with each token's place in their joined outputs."""
    unpad = torch.empty(sum(segment.length for segment in segments), dtype=torch.int64)
    offset = 0
    for _, index, is_real in blocks:
        places = offset + torch.arange(index.numel()).view_as(index)
        unpad[index[is_real]] = places[is_real]
        offset += index.numel()
    return AttentionPlan(tuple(block for block, _, _ in blocks), unpad, tuple(segment for segment in segments if segment.length))
