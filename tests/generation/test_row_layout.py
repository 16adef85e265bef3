"""The layouts of a decoding step's heads, place by place, for prompts with unequal numbers of live rows."""

import torch

from components.generation.row_layout import RowLayout
from components.modeling.attention import HeadShape

SHAPE = HeadShape(heads=4, key_value_heads=2, size=1, epsilon=1e-6)


def test_heads_stand_by_prompt_and_by_row_and_come_back():
    layout = RowLayout.of(torch.tensor([0, 0, 0, 1, 2, 2]), shape=SHAPE)
    heads = torch.arange(6 * 6)[:, None]  # of row r: 6r … 6r + 3 its queries, then its keys
    places = heads.index_select(0, layout.laid_out)[:, 0]
    grid, rows = places[: len(layout.to_grid)].view(3, 2, 3, 2), places[len(layout.to_grid) :].view(6, 2, 2)
    assert rows.tolist() == [[[6 * row, 6 * row + 1], [6 * row + 2, 6 * row + 3]] for row in range(6)]
    # prompt 0 has rows 0, 1, 2; prompt 1 row 3 and prompt 2 rows 4, 5, their empty places repeat row 0's first head
    assert grid[:, 0].tolist() == [[[0, 1], [6, 7], [12, 13]], [[18, 19], [0, 0], [0, 0]], [[24, 25], [30, 31], [0, 0]]]
    assert grid[2, 1].tolist() == [[26, 27], [32, 33], [0, 0]]
    assert torch.equal(grid.flatten().index_select(0, layout.to_rows), rows.flatten())
    assert torch.equal(rows.flatten().index_select(0, layout.to_grid), grid.flatten())
    assert (layout.grid, layout.rows) == ((6, 6), (12, 2))


def test_a_full_grid_has_no_empty_places():
    layout = RowLayout.of(torch.arange(3).repeat_interleave(2), shape=SHAPE)
    assert sorted(layout.to_grid.tolist()) == list(range(3 * 2 * 2 * 2))
