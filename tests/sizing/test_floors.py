"""A step's floors against numbers derived by hand on a decoder of 40 parameters in its matrices and 16 in its head."""

import pytest

from components.sizing.floors import Tree, forward_flops, generate_floor
from components.sizing.machine import DeviceSpeed
from components.sizing.shape import DecoderShape

# D(H + 2K)S + HSD + 3DF = 2 · 3 · 2 + 2 · 2 + 3 · 2 · 4 = 40, of which 8 are keys' and values'; head 8 · 2; a pair attended costs 4LHS = 8
SHAPE = DecoderShape(layers=1, hidden=2, heads=1, key_value_heads=1, head_size=2, intermediate=4, vocabulary=8)
QUICK = 1e30


def test_a_forward_counts_every_token_once_logits_where_asked_and_pairs_seen():
    # sequences of 3 and 5 tokens: 8 tokens, 3²/2 + 5²/2 = 17 pairs
    assert forward_flops(SHAPE, [Tree(3), Tree(5)], headed=8) == 2 * 40 * 8 + 2 * 16 * 8 + 8 * 17
    # a prompt of 4 with answers of 1 and 3: 8 tokens, 4²/2 + (4 + ½) + (12 + 9/2) = 29 pairs
    assert forward_flops(SHAPE, [Tree(4, (1, 3))], headed=0, read=8) == 2 * 40 * 8 + 8 * 29


def test_the_last_layer_is_finished_for_the_tokens_read_alone():
    # 8 parameters a token for its key and value, the 32 others where the token is read: those with logits, or, without any, 2 scores
    assert forward_flops(SHAPE, [Tree(3), Tree(5)], headed=4) == 2 * 8 * 8 + 2 * 32 * 4 + 2 * 16 * 4 + 8 * 17
    assert forward_flops(SHAPE, [Tree(4, (1, 3))], headed=0, read=2) == 2 * 8 * 8 + 2 * 32 * 2 + 8 * 29


def test_where_reading_is_free_decoding_costs_its_products():
    # prefill of 4 tokens, 8 pairs, one head; the answer of 3 takes two steps that see 5 and 6 keys, the answer of 1 none
    prefill = 2 * 8 * 4 + 2 * 32 + 2 * 16 + 8 * 8  # the last layer is finished for the prompt's last token alone
    steps = (2 * 40 + 2 * 16 + 8 * 5) + (2 * 40 + 2 * 16 + 8 * 6)
    assert generate_floor(SHAPE, [Tree(4, (1, 3))], speed=DeviceSpeed(1000.0, QUICK), weight_bytes=4, cached_bytes=4) == pytest.approx((prefill + steps) / 1000)


def test_where_products_are_free_decoding_costs_its_reads_a_prompt_once_for_its_answers():
    # matrices and head 56 · 4 = 224 bytes a step; a cached token 2 · 1 · 1 · 2 · 4 = 16: the prompt's 4 and each answer's own
    weights, cached = 224, 16
    expected = weights + (weights + (4 + 2 * 1) * cached) + (weights + (4 + 2 * 2) * cached)
    assert generate_floor(SHAPE, [Tree(4, (3, 3))], speed=DeviceSpeed(QUICK, 1000.0), weight_bytes=4, cached_bytes=4) == pytest.approx(expected / 1000)


def test_a_prompt_whose_answers_have_ended_is_read_no_more():
    # step 1: both prompts, 4 + 6, and a token of two answers; step 2: the second prompt alone and two tokens
    expected = 224 + (224 + (10 + 2) * 16) + (224 + (6 + 2) * 16)
    assert generate_floor(SHAPE, [Tree(4, (2,)), Tree(6, (3, 1))], speed=DeviceSpeed(QUICK, 1000.0), weight_bytes=4, cached_bytes=4) == pytest.approx(expected / 1000)


def test_each_decode_step_is_bound_by_what_takes_it_longer():
    # two answers of 2: prefill 80 + 64 + 32 + 100 = 276 operations or 224 bytes; the step 2 · (80 + 32 + 8 · 6) = 320 operations or
    # 224 + 7 · 16 = 336 bytes
    assert generate_floor(SHAPE, [Tree(5, (2, 2))], speed=DeviceSpeed(1.0, 1.0), weight_bytes=4, cached_bytes=4) == 276 + 336


def test_nothing_drawn_costs_nothing():
    assert generate_floor(SHAPE, [], speed=DeviceSpeed(1.0, 1.0), weight_bytes=4, cached_bytes=4) == 0.0


def test_measuring_the_machine_moves_no_random_state_and_is_done_once():
    import torch

    from components.sizing.machine import device_speed

    device_speed.cache_clear()
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    speed = device_speed("float32", "cpu")
    assert torch.equal(torch.rand(4), expected)
    assert speed.flops > 0 and speed.bandwidth > 0
    assert device_speed("float32", "cpu") is speed
