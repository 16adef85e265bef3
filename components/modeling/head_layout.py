"""Where every head of every token stands in a plan's blocks, so that one gather lays out the queries, keys and values of all.

A block's product wants, for each segment and key-value head, the queries of all its query heads below each other. Laid out
by slicing and transposing, block by block, that took ten times as long as one gather of single heads (2-core Xeon, 32
segments of 46 tokens, 6 + 2 + 2 heads of 32: 0.90 ms and 0.08). Gradients go back by a gather too (`WayBack`): a head stands
in the blocks once, but for a prompt's keys and values beside each of its answers, and adding all rows up, one after the other
on a CPU, takes four times as long (45,000 rows of 32: 1.0 ms and 0.24).

Shapes: H query heads, K key-value heads, G = H / K, D head size; in a block N segments, I queries, J keys. A row is one
head of one token: `joined` of (T, H + 2K, D) has T · (H + 2K) of them.
"""

import functools
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from components.modeling.packed_batch import AttentionBlock, AttentionPlan


@dataclass(frozen=True)
class BlockRows:
    """A block's rows among those gathered, and among the outputs of all blocks."""

    block: AttentionBlock
    queries: slice  # (N, K, G · I)
    keys: slice  # (N, K, J)
    values: slice
    outputs: slice  # as the queries

    def of(self, gathered: Tensor, key_value_heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return views of gathered rows, (rows, D): queries (N · K, G · I, D), keys and values (N · K, J, D)."""
        batch = self.block.segments * key_value_heads
        return tuple(gathered[part].view(batch, -1, gathered.shape[1]) for part in (self.queries, self.keys, self.values))  # type: ignore[return-value]


@dataclass(frozen=True)
class WayBack:
    """From which rows gathered each row of `joined` takes its gradient."""

    first: Tensor  # int64, (T · (H + 2K)): the first; for a head that no block holds, the number of rows gathered
    others: Tensor  # int64: the rows gathered that are a row's second, third ..., padding left out
    of_others: Tensor  # int64: row of `joined` of each

    def summed(self, gathered: Tensor) -> Tensor:
        """Return the sum over the rows gathered from each row of `joined`, (T · (H + 2K), D).

        Args:
            gathered: (rows gathered + 1, D); the last is zeros.
        """
        sums = gathered.index_select(0, self.first)
        return sums.index_add_(0, self.of_others, gathered.index_select(0, self.others)) if len(self.others) else sums


@dataclass(frozen=True)
class HeadLayout:
    """The gather of a plan's heads."""

    heads: int
    key_value_heads: int
    tokens: int  # T
    kept_Q: Tensor | None  # the plan's
    unpad_Q: Tensor  # the plan's
    blocks: tuple[BlockRows, ...]
    gathered: Tensor  # int64: row of `joined` for each row gathered; padding repeats token 0's
    outputs: int  # rows of all blocks' outputs
    spread: Tensor  # int64, (queries of the plan · H): row of the outputs that holds each

    @classmethod
    def of(cls, plan: AttentionPlan, *, heads: int, key_value_heads: int) -> "HeadLayout":
        """Lay out a plan's heads; made once a plan and shape."""
        known = plan.layouts.get((heads, key_value_heads))
        if known is None:
            known = plan.layouts[heads, key_value_heads] = cls._made(plan, heads, key_value_heads)
        return known

    @classmethod
    def _made(cls, plan: AttentionPlan, heads: int, key_value_heads: int) -> "HeadLayout":
        every = heads + 2 * key_value_heads
        head, own = torch.arange(heads)[:, None], torch.arange(heads, heads + key_value_heads)[:, None]
        rows = []
        for block in plan.blocks:
            queries, keys = (tokens.view(block.segments, 1, -1) * every for tokens in (block.queries, block.keys))
            rows += [(queries + head).flatten(), (keys + own).flatten(), (keys + own + key_value_heads).flatten()]
        edges = [slice(*pair) for pair in pairwise(accumulate((row.numel() for row in rows), initial=0))]
        outputs = [slice(*pair) for pair in pairwise(accumulate((row.numel() for row in rows[::3]), initial=0))]
        blocks = tuple(BlockRows(block, *edges[3 * number : 3 * number + 3], outputs[number]) for number, block in enumerate(plan.blocks))
        tokens = max(segment.start + segment.length for segment in plan.segments)
        spread = _query_rows(blocks, [part.outputs for part in blocks], heads).index_select(0, plan.unpad_Q).flatten()
        return cls(heads, key_value_heads, tokens, plan.kept, plan.unpad_Q, blocks, torch.cat(rows), outputs[-1].stop, spread)

    @functools.cached_property
    def spread_back(self) -> Tensor:
        """The head of a query, (outputs,), that each row of the outputs holds; the number of them where it is padding."""
        return torch.full((self.outputs,), len(self.spread)).index_copy_(0, self.spread, torch.arange(len(self.spread)))

    @functools.cached_property
    def way_back(self) -> WayBack:
        """The way of gradients; made once, where a gradient is asked for."""
        first = torch.full((self.tokens, self.heads + 2 * self.key_value_heads), len(self.gathered))
        queries = slice(None) if self.kept_Q is None else self.kept_Q
        first[queries, : self.heads] = _query_rows(self.blocks, [part.queries for part in self.blocks], self.heads).index_select(0, self.unpad_Q)
        keys, rows = self._key_rows()
        by_token = keys.argsort(stable=True)
        keys, rows = keys.index_select(0, by_token), rows.index_select(0, by_token)
        is_first = torch.ones(len(keys), dtype=torch.bool)
        is_first[1:] = keys[1:] != keys[:-1]
        first[keys[is_first], self.heads :] = rows[is_first]
        of_others = (keys[~is_first, None] * first.shape[1] + torch.arange(self.heads, first.shape[1])).flatten()
        return WayBack(first.flatten(), rows[~is_first].flatten(), of_others)

    def _key_rows(self) -> tuple[Tensor, Tensor]:
        """Return the token of each key of the blocks but padding, and its rows gathered, (keys, 2K): keys, then values."""
        head, tokens, rows = torch.arange(self.key_value_heads), [], []
        for part in self.blocks:
            longest = part.block.key_length
            keys = part.block.keys.view(-1, longest)
            segment, place = ((keys > 0) | (torch.arange(longest) == 0)).nonzero(as_tuple=True)  # token 0 is the first of what sees it
            row = ((segment * self.key_value_heads)[:, None] + head) * longest + place[:, None]
            tokens.append(keys[segment, place])
            rows.append(torch.cat([part.keys.start + row, part.values.start + row], dim=1))
        return torch.cat(tokens), torch.cat(rows)


def _query_rows(blocks: tuple[BlockRows, ...], parts: list[slice], heads: int) -> Tensor:
    """Return where each head of each padded query of the blocks lies, (padded queries, H), theirs lying in these parts."""
    rows = []
    for block, part in zip(blocks, parts, strict=True):
        places = torch.arange(part.start, part.stop).view(block.block.segments, heads, -1)
        rows.append(places.transpose(1, 2).reshape(-1, heads))
    return torch.cat(rows)
