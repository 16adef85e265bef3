"""A packed batch: tokens of many segments in one row, how they attend, and which of them are read.

Batches are laid out on the processor (packing.py, reading.py), where their lengths are known without waiting, and moved to
the model's device as a whole (`PackedBatch.on`).
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from components.modeling.head_layout import HeadLayout


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
class AttentionPlan:
    """Which queries attend in which block, and where their outputs come to lie."""

    blocks: tuple[AttentionBlock, ...]
    unpad_Q: Tensor  # int64: where each query lies in the joined, padded outputs of all blocks
    layouts: "dict[tuple[int, int], HeadLayout]" = field(default_factory=dict, compare=False)  # by heads; made once a plan

    def on(self, device: torch.device) -> "AttentionPlan":
        """Return the plan on a device."""
        return AttentionPlan(tuple(block.on(device) for block in self.blocks), self.unpad_Q.to(device))


@dataclass(frozen=True)
class ReadTokens:
    """The tokens whose final hidden state is asked for: for them alone the last layer attends and is finished."""

    tokens_W: Tensor  # int64, ascending, each once
    places_A: Tensor  # int64: where each token asked for lies among them
    attention: AttentionPlan  # of these queries

    def on(self, device: torch.device) -> "ReadTokens":
        """Return the tokens on a device."""
        return ReadTokens(self.tokens_W.to(device), self.places_A.to(device), self.attention.on(device))


@dataclass(frozen=True)
class PackedBatch:
    """Tokens of many segments in one row, and how they attend."""

    ids_T: Tensor  # int64
    positions_T: Tensor  # int64, of the rotary embedding
    attention: AttentionPlan  # of all tokens
    starts: tuple[int, ...]  # first token of each segment; in a tree: of each answer, prompts in `prompt_starts`
    lengths: tuple[int, ...]
    prompt_starts: tuple[int, ...] = ()
    prompt_lengths: tuple[int, ...] = ()
    read: ReadTokens | None = None  # None: every token (reading.py)

    @property
    def tokens(self) -> int:
        """Real tokens in the batch."""
        return int(self.ids_T.numel())

    @property
    def last_tokens(self) -> list[int]:
        """The last token of each segment in `starts`."""
        return [start + length - 1 for start, length in zip(self.starts, self.lengths, strict=True)]

    def on(self, device: torch.device) -> "PackedBatch":
        """Return the batch on a device: itself where it lies there."""
        if self.ids_T.device == device:
            return self
        read = None if self.read is None else self.read.on(device)
        return replace(self, ids_T=self.ids_T.to(device), positions_T=self.positions_T.to(device), attention=self.attention.on(device), read=read)
