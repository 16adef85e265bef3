"""The gather of heads, place by place: every query, key and value where its block's product expects it; and the way back of gradients."""

import pytest
import torch

from components.modeling.head_layout import HeadLayout
from components.modeling.packing import answer_targets, pack_sequences, pack_trees
from components.modeling.reading import read_answers, read_at

HEADS, KEY_VALUE_HEADS, SIZE = 4, 2, 3
EVERY = HEADS + 2 * KEY_VALUE_HEADS
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
ANSWERS = [[[1, 2], [3], []], [[4, 5, 6]], [[], [7, 8], [9], [10, 11, 12, 13, 14]]]
SEQUENCES = [[1] * length for length in (7, 1, 3, 12, 2, 2, 5)]


def _assert_laid_out(plan):
    layout = HeadLayout.of(plan, heads=HEADS, key_value_heads=KEY_VALUE_HEADS)
    gathered = _named(layout).index_select(0, layout.gathered)
    outputs = torch.full((layout.outputs, 1), -1)
    for part in layout.blocks:
        queries, keys, values = part.of(gathered, KEY_VALUE_HEADS)
        for number in range(part.block.segments * KEY_VALUE_HEADS):
            segment, head = divmod(number, KEY_VALUE_HEADS)
            tokens = part.block.queries.view(part.block.segments, -1)[segment].tolist()
            seen = part.block.keys.view(part.block.segments, -1)[segment].tolist()
            assert queries[number, :, 0].tolist() == [EVERY * token + 2 * head + query for query in range(2) for token in _with_queries(plan, tokens)]
            assert keys[number, :, 0].tolist() == [EVERY * token + HEADS + head for token in seen]
            assert values[number, :, 0].tolist() == [EVERY * token + HEADS + KEY_VALUE_HEADS + head for token in seen]
        outputs[part.outputs] = gathered[part.queries]
    return outputs.index_select(0, layout.spread).view(-1, HEADS).tolist()


def _named(layout):
    """Name every row 8 · token + head, as they lie: all of a token side by side, or queries apart."""
    names = torch.arange(len(layout.key_rows) * EVERY).view(-1, EVERY)
    if layout.kept_Q is None:
        return names.view(-1, 1)
    return torch.cat([names[layout.kept_Q, :HEADS].flatten(), names[:, HEADS:].flatten()])[:, None]


def _with_queries(plan, tokens):
    """Name each token's query: for padding, token 0, where it has none, that of the first that has."""
    return tokens if plan.kept is None else [token if token in plan.kept else int(plan.kept[0]) for token in tokens]


def test_sequences_of_several_blocks():
    batch = pack_sequences([list(range(length)) for length in (30, 2, 2, *[9] * 13, 3)])
    assert len(batch.attention.blocks) > 1
    assert _assert_laid_out(batch.attention) == [[EVERY * token + head for head in range(HEADS)] for token in range(batch.tokens)]


def test_a_tree_and_the_tokens_read_of_it():
    tree = pack_trees([[5, 9, 40], [7, 8]], [[[45, 46], [47, 48, 49]], [[11]]])
    predictors, _ = answer_targets(tree, answers_per_prompt=[2, 1])
    read = read_at(tree, predictors).read
    assert _assert_laid_out(tree.attention) == [[EVERY * token + head for head in range(HEADS)] for token in range(tree.tokens)]
    assert _assert_laid_out(read.attention) == [[EVERY * token + head for head in range(HEADS)] for token in read.tokens_W.tolist()]


def test_a_plan_is_laid_out_once_for_each_shape():
    plan = pack_sequences([[1, 2, 3]]).attention
    assert HeadLayout.of(plan, heads=4, key_value_heads=2) is HeadLayout.of(plan, heads=4, key_value_heads=2)
    assert HeadLayout.of(plan, heads=4, key_value_heads=4) is not HeadLayout.of(plan, heads=4, key_value_heads=2)


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
    heads = torch.randn(layout.rows, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
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
