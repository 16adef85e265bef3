"""The gather of heads, place by place: every query, key and value where its block's product expects it."""

import torch

from components.modeling.head_layout import HeadLayout
from components.modeling.packing import answer_targets, pack_sequences, pack_trees
from components.modeling.reading import read_at

HEADS, KEY_VALUE_HEADS = 4, 2
EVERY = HEADS + 2 * KEY_VALUE_HEADS


def _assert_laid_out(plan):
    layout = HeadLayout.of(plan, heads=HEADS, key_value_heads=KEY_VALUE_HEADS)
    names = torch.arange(1000 * EVERY)[:, None]  # of each row of `joined`: 8 · token + head
    gathered = names.index_select(0, layout.gathered)
    outputs = torch.full((layout.outputs, 1), -1)
    for part in layout.blocks:
        queries, keys, values = part.of(gathered, KEY_VALUE_HEADS)
        for number in range(part.block.segments * KEY_VALUE_HEADS):
            segment, head = divmod(number, KEY_VALUE_HEADS)
            tokens = part.block.queries.view(part.block.segments, -1)[segment].tolist()
            seen = part.block.keys.view(part.block.segments, -1)[segment].tolist()
            assert queries[number, :, 0].tolist() == [EVERY * token + 2 * head + query for query in range(2) for token in tokens]
            assert keys[number, :, 0].tolist() == [EVERY * token + HEADS + head for token in seen]
            assert values[number, :, 0].tolist() == [EVERY * token + HEADS + KEY_VALUE_HEADS + head for token in seen]
        outputs[part.outputs] = gathered[part.queries]
    return outputs.index_select(0, layout.spread).view(-1, HEADS).tolist()


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
