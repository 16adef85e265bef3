"""Where the heads of live rows stand in a step's two attentions: by prompt, to meet keys that rows share, and by row.

A product of many queries with one prompt's keys needs the prompt's rows side by side: a grid of (prompts, key-value heads,
width, queries per head), `width` the most rows a prompt has. Moving between the layouts is one gather each way, by
indices that change only when rows are dropped. Empty places of the grid repeat row 0, and nothing reads what comes of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from components.modeling.attention import HeadShape


@dataclass(frozen=True)
class RowLayout:
    """R rows, P prompts, K key-value heads, Q query heads per key-value head, W the most rows of a prompt."""

    laid_out: Tensor  # (P·K·W·Q + R·K·Q,): head of a step, (row, head) in reading order, for each place of the grid and of the rows
    to_grid: Tensor  # (P·K·W·Q,): row's place, (row, key-value head, query) in reading order, for each place of the grid
    to_rows: Tensor  # (R·K·Q,): grid's place for each of the rows' places
    grid: tuple[int, int]  # P·K and W·Q
    rows: tuple[int, int]  # R·K and Q

    @classmethod
    def of(cls, owner_R: Tensor, *, shape: HeadShape) -> "RowLayout":
        """Lay out rows by their prompts: `owner_R` ascends from 0 without gaps."""
        device, rows = owner_R.device, len(owner_R)
        counts_P = owner_R.bincount()
        width, per_head = int(counts_P.max()), shape.heads // shape.key_value_heads
        within_R = torch.arange(rows, device=device) - (counts_P.cumsum(0) - counts_P).index_select(0, owner_R)
        row, head, query = (torch.arange(size, device=device) for size in (rows, shape.key_value_heads, per_head))
        grid_RKQ = ((owner_R[:, None, None] * len(head) + head[:, None]) * width + within_R[:, None, None]) * per_head + query
        heads_RKQ = row[:, None, None] * (shape.heads + shape.key_value_heads) + head[:, None] * per_head + query
        to_rows, heads = grid_RKQ.flatten(), heads_RKQ.flatten()
        to_grid = torch.zeros(len(counts_P) * len(head) * width * per_head, dtype=torch.int64, device=device)
        to_grid.index_copy_(0, to_rows, torch.arange(len(to_rows), device=device))
        return cls(
            torch.cat([heads.index_select(0, to_grid), heads]), to_grid, to_rows,
            grid=(len(counts_P) * len(head), width * per_head), rows=(rows * len(head), per_head),
        )  # fmt: skip
