"""Gradients of heads laid out in blocks come back as the sum over all rows gathered from each, none of padding's."""

import pytest
import torch

from components.modeling.head_layout import HeadLayout
from components.modeling.packing import pack_sequences, pack_trees
from components.modeling.reading import read_answers, read_at

HEADS, KEY_VALUE_HEADS, SIZE = 4, 2, 3
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
ANSWERS = [[[1, 2], [3], []], [[4, 5, 6]], [[], [7, 8], [9], [10, 11, 12, 13, 14]]]
SEQUENCES = [[1] * length for length in (7, 1, 3, 12, 2, 2, 5)]


def _plans():
    tree = pack_trees(PROMPTS, ANSWERS)
    yield "sequences", pack_sequences(SEQUENCES).attention
    yield "sequences read", read_at(pack_sequences(SEQUENCES), [31, 6, 7, 7, 20]).read.attention
    yield "first token not read", read_at(pack_sequences([[1, 2, 3], [4, 5, 6], [7, 8]]), [4]).read.attention
    yield "tree", tree.attention
    yield "tree read", read_answers(tree, answers_per_prompt=[3, 1, 4])[0].read.attention


@pytest.mark.parametrize("plan", [pytest.param(plan, id=name) for name, plan in _plans()])
def test_the_sum_is_that_over_every_row_gathered(plan):
    layout = HeadLayout.of(plan, heads=HEADS, key_value_heads=KEY_VALUE_HEADS)
    heads = torch.randn(layout.tokens * (HEADS + 2 * KEY_VALUE_HEADS), SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = torch.randn(layout.outputs, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    gathered = heads.index_select(0, layout.gathered)  # autograd adds every row up
    gathered.retain_grad()
    outputs = _attended(layout, gathered)
    (outputs.index_select(0, layout.spread) * weights.index_select(0, layout.spread)).sum().backward()

    padded = torch.cat([gathered.grad, torch.zeros(1, SIZE, dtype=torch.float64)])
    torch.testing.assert_close(layout.way_back.summed(padded), heads.grad, rtol=0, atol=1e-14)


def _attended(layout, gathered):
    """Attend plainly, block by block, as `attention.py` does."""
    outputs = []
    for part in layout.blocks:
        q, k, v = part.of(gathered, KEY_VALUE_HEADS)
        scores = (q @ k.transpose(1, 2)).view(part.block.segments, HEADS, -1, part.block.key_length) + part.block.bias(torch.float64)
        outputs.append((scores.softmax(dim=-1).view(len(q), -1, part.block.key_length) @ v).reshape(-1, SIZE))
    return torch.cat(outputs)


@pytest.mark.parametrize("plan", [pytest.param(plan, id=name) for name, plan in _plans()])
def test_a_querys_gradient_is_spread_to_its_row_and_padding_gets_none(plan):
    layout = HeadLayout.of(plan, heads=HEADS, key_value_heads=KEY_VALUE_HEADS)
    values = torch.arange(1.0, len(layout.spread) + 1)
    spread = torch.cat([values, torch.zeros(1)]).index_select(0, layout.spread_back)
    assert torch.equal(spread, torch.zeros(layout.outputs).index_copy_(0, layout.spread, values))
