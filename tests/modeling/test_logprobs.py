"""Log-probabilities against log_softmax, with gradients, chunked or not."""

import pytest
import torch

from components.modeling import logprobs
from components.modeling.likelihood import option_logprobs
from components.modeling.logprobs import logprobs_and_entropy, selected_logprobs


@pytest.mark.parametrize("chunk", [1 << 22, 5 * 512], ids=["one chunk", "chunks of 5"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equal_to_log_softmax_with_gradients(tiny_model, monkeypatch, chunk, temperature):
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
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


@pytest.mark.parametrize("chunk", [1 << 22, 5 * 512], ids=["one chunk", "chunks of 5"])
@pytest.mark.parametrize("with_logprobs", [True, False], ids=["both", "entropy alone"])
def test_entropy_gradient_is_that_of_a_dense_softmax(tiny_model, monkeypatch, chunk, with_logprobs):
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
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
