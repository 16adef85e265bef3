"""Where every head of every token stands in a plan's blocks, so that one gather lays out the queries, keys and values of all.

A block's product wants, for each segment and key-value head, the queries of all its query heads below each other. Laid out
by slicing and transposing, block by block, that took ten times as long as one gather of single heads (2-core Xeon, 32
segments of 46 tokens, 6 + 2 + 2 heads of 32: 0.90 ms and 0.08). Gradients go back by a gather too (`WayBack`): a head stands
in the blocks once, but for a prompt's keys and values beside each of its answers, and adding all rows up, one after the other
on a CPU, takes four times as long (45,000 rows of 32: 1.0 ms and 0.24).

Shapes: H query heads, K key-value heads, G = H / K, D head size; T tokens, Q of them with a query; in a block N segments,
I queries, J keys. A row is one head of one token. Where every token has a query, rows lie token by token, (T, H + 2K, D);
else queries apart: those of the tokens that have one, (Q, H, D), then all keys and values, (T, 2K, D).
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
    """From which rows gathered each row takes its gradient."""

    first: Tensor  # int64, (rows,): the first; for a head that no block holds, the number of rows gathered
    others: Tensor  # int64: the rows gathered that are a row's second, third ..., padding left out
    of_others: Tensor  # int64: the row of each

    def summed(self, gathered: Tensor) -> Tensor:
        """Return the sum over the rows gathered from each row, (rows, D).

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
    kept_Q: Tensor | None  # the plan's: the tokens whose queries lie apart; None: every token has one
    unpad_Q: Tensor  # the plan's
    query_rows: Tensor  # int64, (Q, H): row of each query
    key_rows: Tensor  # int64, (T, 2K): row of each key, then of each value
    blocks: tuple[BlockRows, ...]
    gathered: Tensor  # int64: row for each row gathered; padding repeats the first token's
    outputs: int  # rows of all blocks' outputs
    spread: Tensor  # int64, (Q · H): row of the outputs that holds each query's

    @classmethod
    def of(cls, plan: AttentionPlan, *, heads: int, key_value_heads: int) -> "HeadLayout":
        """Lay out a plan's heads; made once a plan and shape."""
        known = plan.layouts.get((heads, key_value_heads))
        if known is None:
            known = plan.layouts[heads, key_value_heads] = cls._made(plan, heads, key_value_heads)
        return known

    @classmethod
    def _made(cls, plan: AttentionPlan, heads: int, key_value_heads: int) -> "HeadLayout":
        tokens = max(segment.start + segment.length for segment in plan.segments)
        query_rows, key_rows = _rows(tokens, plan.kept, heads=heads, keys_and_values=2 * key_value_heads)
        query_of = torch.arange(tokens)
        if plan.kept is not None:
            query_of = torch.zeros_like(query_of).index_copy_(0, plan.kept, torch.arange(len(plan.kept)))
        rows = []
        for block in plan.blocks:
            queries = query_rows.index_select(0, query_of.index_select(0, block.queries))
            keys = key_rows.index_select(0, block.keys)
            rows += [_by_head(part, block.segments) for part in (queries, *keys.chunk(2, dim=1))]
        edges = [slice(*pair) for pair in pairwise(accumulate((row.numel() for row in rows), initial=0))]
        outputs = [slice(*pair) for pair in pairwise(accumulate((row.numel() for row in rows[::3]), initial=0))]
        blocks = tuple(BlockRows(block, *edges[3 * number : 3 * number + 3], outputs[number]) for number, block in enumerate(plan.blocks))
        spread = _places(blocks, [part.outputs for part in blocks], heads).index_select(0, plan.unpad_Q).flatten()
        return cls(heads, key_value_heads, plan.kept, plan.unpad_Q, query_rows, key_rows, blocks, torch.cat(rows), outputs[-1].stop, spread)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self.query_rows.numel() + self.key_rows.numel()

    def parts(self, rows_RD: Tensor) -> tuple[Tensor, ...]:
        """Return views of all rows, (rows, D), by token: one (T, H + 2K, D), or queries (Q, H, D), then keys and values (T, 2K, D)."""
        if self.kept_Q is None:
            return (rows_RD.view(len(self.key_rows), -1, rows_RD.shape[1]),)
        queries, keys_and_values = rows_RD.split([self.query_rows.numel(), self.key_rows.numel()])
        return queries.view(*self.query_rows.shape, -1), keys_and_values.view(*self.key_rows.shape, -1)

    @functools.cached_property
    def spread_back(self) -> Tensor:
        """The head of a query, (outputs,), that each row of the outputs holds; the number of them where it is padding."""
        return torch.full((self.outputs,), len(self.spread)).index_copy_(0, self.spread, torch.arange(len(self.spread)))

    @functools.cached_property
    def way_back(self) -> WayBack:
        """The way of gradients; made once, where a gradient is asked for."""
        first = torch.full((self.rows,), len(self.gathered))
        first[self.query_rows] = _places(self.blocks, [part.queries for part in self.blocks], self.heads).index_select(0, self.unpad_Q)
        keys, rows = self._gathered_keys()
        by_token = keys.argsort(stable=True)
        keys, rows = keys.index_select(0, by_token), rows.index_select(0, by_token)
        is_first = torch.ones(len(keys), dtype=torch.bool)
        is_first[1:] = keys[1:] != keys[:-1]
        first[self.key_rows[keys[is_first]]] = rows[is_first]
        return WayBack(first, rows[~is_first].flatten(), self.key_rows[keys[~is_first]].flatten())

    def _gathered_keys(self) -> tuple[Tensor, Tensor]:
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


def _rows(tokens: int, kept_Q: Tensor | None, *, heads: int, keys_and_values: int) -> tuple[Tensor, Tensor]:
    """Return the row of each query, (Q, H), and of each key and value, (T, 2K)."""
    if kept_Q is None:
        rows = torch.arange(tokens * (heads + keys_and_values)).view(tokens, -1)
        return rows[:, :heads], rows[:, heads:]
    queries = len(kept_Q) * heads
    return torch.arange(queries).view(-1, heads), torch.arange(queries, queries + tokens * keys_and_values).view(tokens, -1)


def _by_head(rows: Tensor, segments: int) -> Tensor:
    """Return rows of padded tokens, (segments · length, heads), one head's of a segment below each other: flat."""
    return rows.view(segments, -1, rows.shape[1]).transpose(1, 2).flatten()


def _places(blocks: tuple[BlockRows, ...], parts: list[slice], heads: int) -> Tensor:
    """Return where each head of each padded query of the blocks lies, (padded queries, H), theirs lying in these parts."""
    rows = []
    for block, part in zip(blocks, parts, strict=True):
        places = torch.arange(part.start, part.stop).view(block.block.segments, heads, -1)
        rows.append(places.transpose(1, 2).reshape(-1, heads))
    return torch.cat(rows)
