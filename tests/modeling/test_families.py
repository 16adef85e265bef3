"""Qwen2, Llama and tied Qwen3 models through our forward and sampler, against transformers' own."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from components.errors import SettingsError
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.modeling import attention
from components.modeling.adapters import attach_adapters
from components.modeling.forward import forward_packed
from components.modeling.logprobs import selected_logprobs
from components.modeling.models import load_model, save_model
from components.modeling.packing import pack_trees
from components.modeling.reading import in_asked_order, read_answers
from components.modeling.weights import refuse_unsupported
from components.settings.training import AdapterSettings

SHAPE = {
    "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 128,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
FAMILIES = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
    "qwen2, tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "llama, llama3 rotary": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, head_dim=16)),
    "qwen3, tied": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True)),
}
PROMPTS = [[5, 9, 40, 41], [7, 8, 100]]
ANSWERS = [[[45, 46, 47], [300]], [[11, 12, 13, 14, 15]]]


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(3)
    model = FAMILIES[request.param]().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms away from 0 and 1
            parameter.add_(torch.randn(parameter.shape) * 0.15)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield model
    torch.set_num_threads(threads)


def _policy_loss(logprobs):
    # What a first GRPO step minimises: minus ratio times advantage, the ratio 1 in value.
    advantages = torch.linspace(-1.0, 1.0, len(logprobs))
    return -((logprobs - logprobs.detach()).exp() * advantages).mean()


def _ours(model):
    packed, targets = read_answers(pack_trees(PROMPTS, ANSWERS), answers_per_prompt=[2, 1])  # the last layer's queries come apart
    hidden = in_asked_order(forward_packed(model, packed, precision="float32"), packed)
    return selected_logprobs(model, hidden, targets, temperature=0.8, precision="float32")


def _theirs(model):
    rows = []
    for prompt, group in zip(PROMPTS, ANSWERS, strict=True):
        for answer in group:
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            rows.append((logits / 0.8).log_softmax(dim=-1).gather(1, torch.tensor(answer)[:, None])[:, 0])
    return torch.cat(rows)


def _assert_gradients_equal(model, actual, expected):
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours, theirs = (torch.autograd.grad(_policy_loss(logprobs), parameters) for logprobs in (actual, expected))
    for own, reference in zip(ours, theirs, strict=True):
        scale = reference.abs().max() + 1e-6
        torch.testing.assert_close(own / scale, reference / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("longest_held", [640, 0], ids=["own products", "flash"])
def test_logprobs_and_policy_gradients_equal_transformers(model, monkeypatch, longest_held):
    monkeypatch.setattr(attention, "LONGEST_HELD", longest_held)
    actual, expected = _ours(model), _theirs(model)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    _assert_gradients_equal(model, actual, expected)


def test_with_adapters_equal_to_peft(model):
    attach_adapters(model, AdapterSettings(rank=3, alpha=6), seed=1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    actual, expected = _ours(model), _theirs(model)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    _assert_gradients_equal(model, actual, expected)


def test_sampled_logprobs_are_those_of_transformers(model, tiny_tokenizer):
    options = SamplingOptions(max_new_tokens=5, samples=2, seed=4)
    groups = NativeSampler(model, tiny_tokenizer).generate(PROMPTS, options)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for completion in group:
            full = model(torch.tensor([[*prompt, *completion.ids]])).logits[0].log_softmax(dim=-1)
            expected = [float(full[len(prompt) - 1 + place, token].detach()) for place, token in enumerate(completion.ids)]
            assert list(completion.logprobs) == pytest.approx(expected, abs=1e-4)


def test_a_saved_folder_gives_the_same_logprobs(model, tiny_tokenizer, tmp_path):
    save_model(model, tiny_tokenizer, tmp_path)
    loaded = load_model(tmp_path)
    assert torch.equal(_ours(loaded), _ours(model))
    is_tied = loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert is_tied == model.config.tie_word_embeddings


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LlamaConfig(**SHAPE, rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}), "rotary type 'yarn'"),
        (LlamaConfig(**SHAPE, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}), "rotary type 'dynamic'"),
        (LlamaConfig(**SHAPE, mlp_bias=True), "mlp_bias"),
        (Qwen3Config(**SHAPE, attention_bias=True), "attention_bias"),
        (Qwen2Config(**SHAPE, use_sliding_window=True, max_window_layers=1), "sliding windows"),
        (Qwen2Config(**SHAPE, hidden_act="gelu"), "activation 'gelu'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_forward_does_not_compute_is_refused_by_name(config, message):
    with pytest.raises(SettingsError, match=message):
        refuse_unsupported(config)


def test_a_copy_of_a_tied_model_stays_tied(model):
    copied = copy.deepcopy(model)
    is_tied = copied.get_output_embeddings().weight is copied.get_input_embeddings().weight
    assert is_tied == model.config.tie_word_embeddings
