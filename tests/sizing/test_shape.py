"""Parameters, cache and operations against numbers derived by hand and against transformers and torch themselves."""

import json
from pathlib import Path

import pytest

from components.errors import DataError, SettingsError
from components.sizing.shape import DecoderShape, pairs_seen, read_shape

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "infra" / "sizing" / "qwen3-32b.json"
SMALL = DecoderShape(layers=2, hidden=32, heads=4, key_value_heads=2, head_size=8, intermediate=48, vocabulary=512)


def test_the_32b_shape_has_its_published_parameters_and_cache():
    shape = read_shape(CONFIG)
    # a layer: q and o 2 · 5120 · 8192, k and v 2 · 5120 · 1024, feed-forward 3 · 5120 · 25600
    assert shape.layer_matrices == 83_886_080 + 10_485_760 + 393_216_000 == 487_587_840
    # 64 layers, norms 64 · (2 · 5120 + 2 · 128) + 5120, embedding and head 2 · 151936 · 5120: 32.8 billion
    assert shape.parameters == 31_205_621_760 + 671_744 + 5_120 + 1_555_824_640 == 32_762_123_264
    assert shape.cache_bytes() == 2 * 64 * 8 * 128 * 2 == 262_144
    assert shape.forward_flops(tokens=1, headed=1, seen=0) == 2 * (31_205_621_760 + 777_912_320)


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("is_tied", [False, True])
def test_parameters_equal_those_of_transformers(tmp_path, family, is_tied):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = json.loads(CONFIG.read_text()) | {"model_type": family, "num_hidden_layers": 2, "tie_word_embeddings": is_tied, "num_attention_heads": 40}
    values |= {"head_dim": 128 if family == "qwen3" else None}  # the others: hidden size over heads
    (tmp_path / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    assert read_shape(tmp_path).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_operations_equal_those_that_torch_counts(tiny_model):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tokens = 24
    tiny_model.set_attn_implementation("eager")  # plain products, which torch counts
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tiny_model(torch.zeros(1, tokens, dtype=torch.int64), use_cache=False)
    vocabulary = tiny_model.config.vocab_size
    shape = DecoderShape(**{**vars(SMALL), "vocabulary": vocabulary})
    # torch counts attention as if nothing were masked: every token sees all
    assert counter.get_total_flops() == shape.forward_flops(tokens=tokens, headed=tokens, seen=tokens**2)


def test_the_cache_has_the_bytes_of_transformers_own(tiny_model):
    import torch

    with torch.no_grad():
        cache = tiny_model(torch.zeros(1, 10, dtype=torch.int64), use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers) * 4
    assert held == 10 * SMALL.cache_bytes(bytes_per_value=4)


def test_an_update_is_three_forwards_and_the_logits_once_more():
    forward = SMALL.forward_flops(tokens=10, headed=4, seen=50, read=4)
    head = 2 * 512 * 32 * 4
    assert SMALL.update_flops(tokens=10, headed=4, seen=50, recompute=False) == 3 * forward + head
    assert SMALL.update_flops(tokens=10, headed=4, seen=50, recompute=True) == 4 * forward  # the body again, and 2 + 2 of the head


def test_a_prompt_is_seen_by_its_answers_and_counted_once():
    # one prompt of 4: 8 pairs; two answers of 6 over it: 2 · (24 + 18)
    assert pairs_seen(prompts=1, prompt_tokens=4, answers_per_prompt=2, answer_tokens=6) == 8 + 2 * (24 + 18)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "model_type: 'mamba' is not planned for; dense decoders are: qwen3, qwen2, llama"),
        ({"head_dim": None, "num_attention_heads": 48}, r"head_dim: missing, and hidden_size \(5120\) is no multiple"),
        ({"num_hidden_layers": None}, "num_hidden_layers: missing"),
        ({"head_dim": 0}, "head_dim: found 0; a whole number from 1"),
        ({"vocab_size": "many"}, "vocab_size: found 'many'"),
        ({"num_key_value_heads": 7}, r"num_attention_heads \(64\) must be a multiple of num_key_value_heads \(7\)"),
    ],
)
def test_a_config_that_cannot_be_planned_for_names_its_key(tmp_path, change, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(CONFIG.read_text()) | change))
    with pytest.raises(SettingsError, match=said):
        read_shape(tmp_path)


def test_a_missing_or_broken_config_is_named(tmp_path):
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("{\n,")
    with pytest.raises(DataError, match=r"config\.json:2: not valid JSON"):
        read_shape(tmp_path)
