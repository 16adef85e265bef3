"""Packed batches: only real tokens pass through the linear layers; padding exists inside attention alone.

A batch is a row of tokens cut into segments. A segment sees itself causally and, in a tree, the prompt before it:
so a prompt is packed once for all its answers (exact: an answer's tokens see what they would see in a row of its own).
Attention runs in blocks of segments of similar length; `AttentionBlock` says which tokens are its queries and keys.
Batches are laid out on the processor, where their lengths are known without waiting, and moved to the model's device as a
whole (`PackedBatch.on`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

BLOCK_SLACK = 1.5  # a block's longest segment over its shortest: above it, padding costs more than one call more
BLOCK_MINIMUM = 12  # segments a block holds before it is cut for slack


@dataclass(frozen=True)
class AttentionBlock:
    """Segments attended in one call, padded to the longest. Padding repeats token 0 and is never read back."""

    queries: Tensor  # (segments * longest query,), int64: token of each padded query
    keys: Tensor  # (segments * longest key,), int64
    segments: int
    mask: Tensor | None  # (segments, 1, longest query, longest key), True is seen; None: causal, right-padded
    biases: dict[torch.dtype, Tensor] = field(
        default_factory=dict, compare=False
    )  # the mask as numbers, made once a batch

    @property
    def key_length(self) -> int:
        """Keys of the longest segment."""
        return self.keys.numel() // self.segments

    def bias(self, dtype: torch.dtype) -> Tensor:
        """Return the mask as 0 and minus infinity, broadcastable to (segments, heads, queries, keys)."""
        if dtype not in self.biases:
            mask = (
                torch.ones(self.key_length, self.key_length, dtype=torch.bool, device=self.queries.device).tril()[None, None]
                if self.mask is None
                else self.mask
            )
            self.biases[dtype] = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
        return self.biases[dtype]

    def on(self, device: torch.device) -> "AttentionBlock":
        """Return the block on a device."""
        queries, keys = self.queries.to(device), self.keys.to(device)
        return AttentionBlock(queries, keys, self.segments, None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class PackedBatch:
    """Tokens of many segments in one row, and how they attend."""

    ids_T: Tensor  # int64
    positions_T: Tensor  # int64, of the rotary embedding
    blocks: tuple[AttentionBlock, ...]
    unpad_T: Tensor  # int64: where token t lies in the joined, padded outputs of all blocks
    starts: tuple[int, ...]  # first token of each segment; in a tree: of each answer, prompts in `prompt_starts`
    lengths: tuple[int, ...]
    prompt_starts: tuple[int, ...] = ()
    prompt_lengths: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Real tokens in the batch."""
        return int(self.ids_T.numel())

    def on(self, device: torch.device) -> "PackedBatch":
        """Return the batch on a device: itself where it lies there."""
        if self.ids_T.device == device:
            return self
        moved = {name: getattr(self, name).to(device) for name in ("ids_T", "positions_T", "unpad_T")}
        return replace(self, blocks=tuple(block.on(device) for block in self.blocks), **moved)


def pack_sequences(sequences: Sequence[Sequence[int]]) -> PackedBatch:
    """Pack sequences that do not see each other; `starts` and `lengths` are in their order."""
    lengths = [len(sequence) for sequence in sequences]
    starts = _starts(lengths)
    blocks, unpad = _join([_causal_block(group, starts, lengths) for group in _by_length(lengths)], sum(lengths))
    ids = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int64)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return PackedBatch(ids, positions, blocks, unpad, tuple(starts), tuple(lengths))


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
    joined, unpad = _join(blocks, total + sum(lengths))
    ids = torch.tensor([token for item in (*prompts, *flat) for token in item], dtype=torch.int64)
    offsets = [torch.arange(length) for length in prompt_lengths]
    offsets += [torch.arange(length) + prompt_lengths[owner[index]] for index, length in enumerate(lengths)]
    return PackedBatch(
        ids,
        torch.cat(offsets),
        joined,
        unpad,
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


def _join(blocks: list[tuple[AttentionBlock, Tensor, Tensor]], total: int) -> tuple[tuple[AttentionBlock, ...], Tensor]:
    """Return the blocks and, for each token, its place in their joined outputs."""
    unpad = torch.empty(total, dtype=torch.int64)
    offset = 0
    for _, index, is_real in blocks:
        places = offset + torch.arange(index.numel()).view_as(index)
        unpad[index[is_real]] = places[is_real]
        offset += index.numel()
    return tuple(block for block, _, _ in blocks), unpad
