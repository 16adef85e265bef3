"""Segments at their own lengths: what the layout lets each query see, and a pass by it against the padded one."""

import pytest
import torch

from components.modeling.attention import HeadShape, _attend_flash, attend_packed
from components.modeling.flash_layout import FlashLayout
from components.modeling.packing import answer_targets, pack_sequences, pack_trees
from components.modeling.reading import read_at

SHAPE = HeadShape(heads=4, key_value_heads=2, size=8, epsilon=1e-6)
HERE = torch.device("cpu")


def _tree():
    return pack_trees([[5, 9, 40], [7, 8]], [[[45, 46], [], [47, 48, 49]], [[11]]])


def test_a_trees_keys_are_its_prompts_and_then_its_own():
    layout = FlashLayout.of(_tree().attention.segments, device=HERE)
    assert layout.query_ends.tolist() == [0, 3, 5, 7, 10, 11]  # prompts of 3 and 2 tokens; answers of 2, 3 and 1, the empty one left out
    assert layout.key_ends.tolist() == [0, 3, 5, 10, 16, 19]
    assert layout.keys.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5, 6, 0, 1, 2, 7, 8, 9, 3, 4, 10]
    assert (layout.longest_query, layout.longest_key) == (3, 6)


def test_sequences_need_no_gather():
    layout = FlashLayout.of(pack_sequences([[1, 2], [3, 4, 5]]).attention.segments, device=HERE)
    assert layout.keys is None and layout.query_ends.tolist() == layout.key_ends.tolist() == [0, 2, 5]


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("make", [_tree, lambda: pack_sequences([list(range(length)) for length in (6, 1, 4, 4)])])
def test_values_and_gradients_are_those_of_padded_blocks(monkeypatch, plain_varlen_attn, make, is_read):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain_varlen_attn)
    batch = make()
    if is_read:
        batch = read_at(batch, answer_targets(batch, answers_per_prompt=[3, 1])[0] if batch.prompt_starts else [7, 2, 2])
    plan = batch.read.attention if is_read else batch.attention
    angles, norms = torch.randn(batch.tokens, 1, 4), torch.rand(6, 8) + 0.5
    joined = torch.randn(batch.tokens, 8, 8)
    found = []
    for attend in (
        lambda leaf, weights: attend_packed(leaf, weights, cosine=angles.cos(), sine=angles.sin(), shape=SHAPE, plan=plan),
        lambda leaf, weights: _attend_flash(leaf, weights, angles.cos(), angles.sin(), SHAPE, FlashLayout.of(plan.segments, device=HERE).keeping(plan.kept)),
    ):
        leaves = [joined.clone().requires_grad_(), norms.clone().requires_grad_()]
        output = attend(*leaves)
        weight = torch.linspace(-1, 1, output.numel()).view_as(output)
        found.append([output.detach(), *torch.autograd.grad((output * weight).sum(), leaves)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
