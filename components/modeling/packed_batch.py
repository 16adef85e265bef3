"""A packed batch: tokens of many segments in one row, how they attend, and which of them are read.

Batches are laid out on the processor (packing.py, reading.py), where their lengths are known without waiting, and moved to
the model's device as a whole (`PackedBatch.on`).
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.modeling.flash_layout import FlashLayout

if TYPE_CHECKING:
    from components.modeling.head_layout import HeadLayout


@dataclass(frozen=True)
class Segment:
    """A run of tokens that sees itself causally, and before it its prompt, where it has one (`prompt_length` above 0)."""

    start: int
    length: int
    prompt_start: int = 0
    prompt_length: int = 0

    @property
    def seen(self) -> tuple[tuple[int, int], ...]:
        """Starts and lengths of the tokens its last one sees, in their order."""
        own = (self.start, self.length)
        return ((self.prompt_start, self.prompt_length), own) if self.prompt_length else (own,)


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
    copies: "dict[torch.device, AttentionBlock]" = field(default_factory=dict, compare=False)  # on other devices, made where asked for

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
        """Return the block on a device: itself where it lies there, else a copy, made once."""
        if self.queries.device == device:
            return self
        if device not in self.copies:
            mask = None if self.mask is None else self.mask.to(device)
            self.copies[device] = AttentionBlock(self.queries.to(device), self.keys.to(device), self.segments, mask)
        return self.copies[device]


@dataclass(frozen=True)
class AttentionPlan:
    """Which queries attend in which block, and where their outputs come to lie; and the same as segments, for a GPU."""

    blocks: tuple[AttentionBlock, ...]  # on the processor, where they were made
    unpad_Q: Tensor  # int64: where each query lies in the joined, padded outputs of all blocks
    segments: tuple[Segment, ...]  # all of the batch that hold tokens, in the tokens' order
    kept: Tensor | None = None  # int64: the queries, where they are not all tokens
    flash: FlashLayout | None = None  # of the segments, on a GPU
    layouts: "dict[tuple[int, int], HeadLayout]" = field(default_factory=dict, compare=False)  # by heads; made once a plan

    def on(self, device: torch.device, *, flash: FlashLayout | None = None) -> "AttentionPlan":
        """Return the plan for a device; its blocks, which few passes on a GPU read, stay where they are.

        Args:
            flash: the layout of the same segments, where it has been made.
        """
        if device.type == "cuda":
            kept = None if self.kept is None else self.kept.to(device)
            flash = (flash or FlashLayout.of(self.segments, device=device)).keeping(kept)
        return replace(self, unpad_Q=self.unpad_Q.to(device), flash=flash)


@dataclass(frozen=True)
class ReadTokens:
    """The tokens whose final hidden state is asked for: for them alone the last layer attends (flash attention: for all) and is finished."""

    tokens_W: Tensor  # int64, ascending, each once
    places_A: Tensor  # int64: where each token asked for lies among them
    attention: AttentionPlan  # of these queries

    def on(self, device: torch.device, *, flash: FlashLayout | None) -> "ReadTokens":
        """Return the tokens on a device; `flash`: see `AttentionPlan.on`."""
        return ReadTokens(self.tokens_W.to(device), self.places_A.to(device), self.attention.on(device, flash=flash))


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
        attention = self.attention.on(device)
        read = None if self.read is None else self.read.on(device, flash=attention.flash)
        return replace(self, ids_T=self.ids_T.to(device), positions_T=self.positions_T.to(device), attention=attention, read=read)
