"""Prefill in many passes equals prefill in one."""

import torch

from components.generation.prefill import prefill_prompts
from components.modeling.weights import decoder_weights

LENGTHS = (5, 12, 3, 12, 20, 7, 1, 9)


def _prompts(lengths):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(4, 300, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def test_passes_of_any_size_fill_the_same_cache(tiny_model):
    weights = decoder_weights(tiny_model, precision="float32")
    whole = prefill_prompts(weights, _prompts(LENGTHS))
    for pass_tokens in (1, 17, 30):
        parts = prefill_prompts(weights, _prompts(LENGTHS), pass_tokens=pass_tokens)
        torch.testing.assert_close(parts.hidden_PD, whole.hidden_PD, rtol=0, atol=1e-5)
        for name in ("keys", "values"):
            for actual, expected in zip(getattr(parts, name), getattr(whole, name), strict=True):
                for row, length in enumerate(LENGTHS):
                    torch.testing.assert_close(actual[row, :, :length], expected[row, :, :length], rtol=0, atol=1e-5)


@torch.no_grad()
def test_only_padding_is_masked(tiny_model):
    weights = decoder_weights(tiny_model, precision="float32")
    mask_PL = prefill_prompts(weights, _prompts(LENGTHS)).mask_PL
    assert mask_PL.isneginf().sum(dim=1).tolist() == [max(LENGTHS) - length for length in LENGTHS]
    assert prefill_prompts(weights, _prompts((4, 4))).mask_PL is None
