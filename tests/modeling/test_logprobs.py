"""Log-probabilities against log_softmax, with gradients, chunked or not."""

import math
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from components.modeling import logprobs
from components.modeling.likelihood import option_logprobs
from components.modeling.logprobs import logprobs_and_entropy, selected_logprobs

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["held", "computed again"])
def held_elements(request, monkeypatch):
    """Run a test with log-probabilities kept for the backward, and without."""
    monkeypatch.setattr(logprobs, "HELD_ELEMENTS", 1 << 24 if request.param == "held" else 0)


@pytest.mark.usefixtures("held_elements")
@pytest.mark.parametrize("chunk", [1 << 22, 5 * 512], ids=["one chunk", "chunks of 5"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equal_to_log_softmax_with_gradients(tiny_model, monkeypatch, chunk, temperature):
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(logprobs, "LEAST_TOKENS", 5)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(13, 32, generator=generator, requires_grad=True)
    targets = torch.randint(0, len(tiny_model.lm_head.weight), (13,), generator=generator)
    weights = torch.randn(13, generator=generator)
    actual, entropy = logprobs_and_entropy(
        tiny_model, hidden, targets, temperature=temperature, precision="float32", with_entropy=True
    )
    inputs = (hidden, tiny_model.lm_head.weight)
    gradients = torch.autograd.grad((actual * weights).sum(), inputs)
    full = (tiny_model.lm_head(hidden) / temperature).log_softmax(dim=-1)
    expected = full.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropy, -(full.exp() * full).sum(dim=-1), rtol=0, atol=1e-5)
    for gradient, reference in zip(gradients, torch.autograd.grad((expected * weights).sum(), inputs), strict=True):
        torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("held_elements")
@pytest.mark.parametrize("chunk", [1 << 22, 5 * 512], ids=["one chunk", "chunks of 5"])
@pytest.mark.parametrize("with_logprobs", [True, False], ids=["both", "entropy alone"])
def test_entropy_gradient_is_that_of_a_dense_softmax(tiny_model, monkeypatch, chunk, with_logprobs):
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(logprobs, "LEAST_TOKENS", 5)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(13, 32, generator=generator, requires_grad=True)
    targets = torch.randint(0, len(tiny_model.lm_head.weight), (13,), generator=generator)
    first, second = torch.randn(2, 13, generator=generator)
    inputs = (hidden, tiny_model.lm_head.weight)
    logprob, entropy = logprobs_and_entropy(
        tiny_model, hidden, targets, temperature=0.7, precision="float32", with_entropy=True
    )
    loss = (entropy * second).sum() + ((logprob * first).sum() if with_logprobs else 0)
    actual = torch.autograd.grad(loss, inputs)
    full = (tiny_model.lm_head(hidden) / 0.7).log_softmax(dim=-1)
    dense = -((full.exp() * full).sum(dim=-1) * second).sum()
    dense = dense + ((full.gather(1, targets[:, None])[:, 0] * first).sum() if with_logprobs else 0)
    for gradient, reference in zip(actual, torch.autograd.grad(dense, inputs), strict=True):
        torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-5)


def test_entropy_that_was_not_asked_for_is_zero_and_carries_no_gradient(tiny_model):
    hidden = torch.randn(4, 32, requires_grad=True)
    _, entropy = logprobs_and_entropy(tiny_model, hidden, torch.tensor([1, 2, 3, 4]), precision="float32")
    assert entropy.eq(0).all() and not entropy.requires_grad


def test_targets_of_no_weight_add_no_gradient(tiny_model):
    hidden = torch.randn(4, 32, requires_grad=True)
    logprob = selected_logprobs(tiny_model, hidden, torch.tensor([1, 2, 3, 4]), precision="float32")
    (logprob * torch.tensor([1.0, 0.0, 0.0, 0.0])).sum().backward()
    assert hidden.grad[0].abs().max() > 0
    assert hidden.grad[1:].abs().max() == 0


def test_option_logprobs_equal_transformers(tiny_model, tiny_tokenizer):
    prefixes, options = (
        ["Asthma causes", "Pneumonia causes fever and a"],
        [[" wheeze", " fever and cough"], [" cough", " chest pain", " X"]],
    )
    actual = option_logprobs(tiny_model, tiny_tokenizer, prefixes, options)
    for prefix, group, values in zip(prefixes, options, actual, strict=True):
        for option, value in zip(group, values, strict=True):
            start = [tiny_tokenizer.convert_tokens_to_ids("<|endoftext|>"), *tiny_tokenizer(prefix)["input_ids"]]
            ids = tiny_tokenizer(option)["input_ids"]
            with torch.no_grad():
                full = tiny_model(torch.tensor([start + ids])).logits[0].log_softmax(dim=-1)
            expected = sum(full[len(start) - 1 + place, token].item() for place, token in enumerate(ids)) / len(ids)
            assert value == pytest.approx(expected, abs=1e-5)


LARGE_VOCABULARY = 151_936
PEAK_SCRIPT = """
import re, sys, types
import torch
from pathlib import Path
from components.modeling.logprobs import logprobs_and_entropy

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024

torch.set_num_threads(1)
tokens, vocabulary, width = int(sys.argv[1]), int(sys.argv[2]), 16
head = torch.randn(vocabulary, width, requires_grad=True)
hidden = torch.randn(tokens, width, requires_grad=True)
targets = torch.randint(0, vocabulary, (tokens,))
model = types.SimpleNamespace(get_output_embeddings=lambda: types.SimpleNamespace(weight=head))
before = peak()
logprobs, _ = logprobs_and_entropy(model, hidden, targets, precision="float32", with_entropy=True)
(-logprobs.mean()).backward()
print(peak() - before)
"""


@pytest.mark.parametrize("tokens", [512, pytest.param(4096, marks=pytest.mark.slow)])
def test_peak_memory_does_not_grow_with_tokens_times_vocabulary(tokens):
    run = subprocess.run([sys.executable, "-c", PEAK_SCRIPT, str(tokens), str(LARGE_VOCABULARY)], capture_output=True, text=True, check=True, cwd=ROOT)
    # A chunk's logits are 14 MiB, a few of them live; the head's gradient and its sum 9.3 MiB each: 91 to 160 MiB measured, as
    # the allocator gives pages back or not. Whole logits: 297 MiB for 512 tokens and 2,374 for 4,096, twice with their gradient.
    assert float(run.stdout) < 240


def test_a_large_vocabulary_gives_the_numbers_and_gradients_of_dense_logits():
    generator = torch.Generator().manual_seed(0)
    head = (torch.randn(LARGE_VOCABULARY, 16, generator=generator) / 4).requires_grad_()  # logits of standard deviation 1
    hidden = torch.randn(70, 16, generator=generator, requires_grad=True)  # chunks of 27 tokens
    targets = torch.randint(0, LARGE_VOCABULARY, (70,), generator=generator)
    weights = torch.randn(70, generator=generator)
    model = types.SimpleNamespace(get_output_embeddings=lambda: types.SimpleNamespace(weight=head))
    actual = selected_logprobs(model, hidden, targets, precision="float32")
    expected = (hidden @ head.t()).log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    ours, theirs = (torch.autograd.grad((logprobs * weights).sum(), (hidden, head)) for logprobs in (actual, expected))
    for own, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, reference, rtol=0, atol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_the_same_one(tiny_model):
    hidden = torch.randn(4, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    gradients = []
    for is_trained in (True, False):
        tiny_model.lm_head.weight.requires_grad_(is_trained)
        selected_logprobs(tiny_model, hidden, torch.tensor([1, 2, 3, 4]), precision="float32").sum().backward()
        assert (tiny_model.lm_head.weight.grad is not None) == is_trained
        gradients.append(hidden.grad.clone())
        hidden.grad = tiny_model.lm_head.weight.grad = None
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_target_that_is_nearly_certain_keeps_its_small_gradient(dtype):
    """Logits 12 and 63 × 0: 1 − p = 63 / (e¹² + 63), and so are both gradients; the share itself is 1 in bfloat16."""
    head = torch.zeros(64, 2, dtype=dtype)
    head[0, 0] = 1
    hidden = torch.tensor([[12.0, 0.0]], dtype=dtype, requires_grad=True)
    head.requires_grad_()
    logprobs._SelectedLogprobs.apply(hidden, head, torch.tensor([0]), 1.0, False)[0].sum().backward()
    missing = 63 / (math.exp(12) + 63)
    assert hidden.grad[0, 0].item() == pytest.approx(missing, rel=0.01)
    assert head.grad[0, 0].item() == pytest.approx(12 * missing, rel=0.01)
