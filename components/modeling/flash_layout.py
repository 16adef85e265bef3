"""Where segments lie for a GPU's flash attention, which takes them at their own lengths: no padding and no mask.

Queries stand as the batch has them, segment behind segment. A segment's keys are its prompt's, where it is a tree's answer,
then its own; a query sees the keys up to its own, counted from the end, which is what the kernel calls causal. So only a
tree's keys are gathered, a prompt's once for each of its answers.
"""

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from components.modeling.packed_batch import Segment


@dataclass(frozen=True)
class FlashLayout:
    """The segments of a batch as the kernel reads them."""

    query_ends: Tensor  # (segments + 1,), int32, from 0: where each segment's queries end
    key_ends: Tensor
    longest_query: int
    longest_key: int
    keys: Tensor | None  # int64: token of each key; None: the tokens in their order
    kept: Tensor | None = None  # int64: the queries whose outputs are asked for; None: all

    def keeping(self, kept: Tensor | None) -> "FlashLayout":
        """Return the layout of these queries' outputs alone: all are attended, the others dropped."""
        return replace(self, kept=kept)

    @classmethod
    def of(cls, segments: "tuple[Segment, ...]", *, device: torch.device) -> "FlashLayout":
        """Lay out segments that follow each other without gaps, none of them empty."""
        counts = [segment.prompt_length + segment.length for segment in segments]
        is_tree = any(segment.prompt_length for segment in segments)
        keys = torch.cat([torch.arange(start, start + length) for segment in segments for start, length in segment.seen]) if is_tree else None
        ends = [torch.tensor([0, *accumulate(lengths)], dtype=torch.int32) for lengths in ([segment.length for segment in segments], counts)]
        query_ends, key_ends, keys = (part if part is None else part.to(device) for part in (*ends, keys))
        return cls(query_ends, key_ends, max(segment.length for segment in segments), max(counts), keys)
