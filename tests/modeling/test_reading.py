"""Reading some of a batch's tokens gives what reading all of them gives there, values and gradients, for fewer operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from components.modeling import attention
from components.modeling.forward import forward_packed
from components.modeling.packing import answer_targets, pack_sequences, pack_trees
from components.modeling.reading import in_asked_order, read_at
from components.sizing.shape import config_shape

SEQUENCES = [list(range(5, 40)), [7, 8, 9], list(range(60, 100)), *[[number, 3, 4] for number in range(20)]]
TREE = pack_trees([[5, 9, 40], [7, 8], [4, 5, 6, 7]], [[[45, 46], [47, 48, 49]], [[11]], [[12, 13], [], [14]]])
BATCHES = {
    "one token each": (pack_sequences(SEQUENCES), [34, 37, 77, *range(80, 138, 3)]),
    "some of one sequence, the rest unread": (pack_sequences(SEQUENCES), [36, 35]),
    "token 0, which padding repeats": (pack_sequences(SEQUENCES), [0, 50, 0]),
    "every token": (pack_sequences(SEQUENCES), list(range(138))),
    "where a tree's answers are predicted": (TREE, answer_targets(TREE, answers_per_prompt=[2, 1, 3])[0]),
    "out of order": (TREE, [12, 3, 3, 8]),
}


def _run(model, states_AD):
    weights = torch.randn(states_AD.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    (states_AD * weights).sum().backward()
    return states_AD.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("longest_held", [640, 0], ids=["own products", "flash"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", BATCHES)
def test_equals_the_whole_pass_with_gradients(tiny_model, monkeypatch, longest_held, recompute, name):
    monkeypatch.setattr(attention, "LONGEST_HELD", longest_held)
    batch, tokens = BATCHES[name]
    reading = read_at(batch, tokens)
    actual, gradients = _run(tiny_model, in_asked_order(forward_packed(tiny_model, reading, precision="float32", recompute=recompute), reading))
    expected, references = _run(tiny_model, forward_packed(tiny_model, batch, precision="float32").index_select(0, torch.as_tensor(tokens)))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert gradients.keys() == references.keys()
    for key, reference in references.items():
        torch.testing.assert_close(gradients[key], reference, rtol=0, atol=1e-5 * float(reference.abs().max() + 1e-6), msg=key)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30), data=st.data())
def test_every_query_keeps_its_keys_whatever_is_read(lengths, data):
    batch = pack_sequences([list(range(length)) for length in lengths])
    tokens = data.draw(st.lists(st.integers(0, batch.tokens - 1), min_size=1, max_size=40))
    read = read_at(batch, tokens).read
    assert read.tokens_W.tolist() == sorted(set(tokens))
    assert read.tokens_W[read.places_A].tolist() == tokens
    whole, narrowed = _seen(batch.attention), _seen(read.attention)
    assert [narrowed[place] for place in read.attention.unpad_Q.tolist()] == [whole[place] for place in batch.attention.unpad_Q[read.tokens_W].tolist()]


def _seen(plan):
    """Return for each padded query of a plan: the query's token and the tokens it sees."""
    rows = []
    for block in plan.blocks:
        seen = (block.bias(torch.float32) == 0).expand(block.segments, 1, -1, -1)[:, 0]
        for segment, (queries, keys) in enumerate(zip(block.queries.view(block.segments, -1), block.keys.view(block.segments, -1), strict=True)):
            rows += [(int(query), keys[mask].tolist()) for query, mask in zip(queries, seen[segment], strict=True)]
    return rows


def test_the_last_layer_is_finished_for_the_tokens_read_alone(tiny_model):
    shape = config_shape(tiny_model.config.to_dict(), source="tiny")
    batch = pack_sequences([list(range(5, 25))] * 4)
    found = []
    for tokens in (range(80), range(19, 80, 20)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            forward_packed(tiny_model, read_at(batch, tokens), precision="float32")
        found.append(counter.get_total_flops())
    finished = 2 * (2 * shape.heads * shape.head_size * shape.hidden + 3 * shape.hidden * shape.intermediate)  # queries, outputs, feed-forward
    attended = 4 * shape.heads * shape.head_size * 20  # scores and sums over the 20 keys of its block
    assert found[0] - found[1] == 76 * (finished + attended)


def test_a_batch_that_says_nothing_to_read_is_refused(tiny_model):
    batch = pack_sequences([[5, 6]])
    with pytest.raises(ValueError, match="call read_at"):
        in_asked_order(forward_packed(tiny_model, batch, precision="float32"), batch)
