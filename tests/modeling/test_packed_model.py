"""The packed forward as modules equals the packed forward, to the bit, in values and gradients."""

import pytest
import torch

from components.modeling.packed_model import PackedModel
from components.modeling.packed_pass import token_logprobs, token_scores
from components.modeling.packing import pack_sequences
from components.rewards.reward_model import create_reward_model

SEQUENCES = [[5, 6, 7, 8, 9], [40, 41, 42], [100, 101, 102, 103]]


def _gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_log_probabilities_and_gradients_are_those_of_the_plain_model(tiny_model, precision):
    batch = pack_sequences(SEQUENCES)
    predictors, targets = torch.tensor([0, 3, 6, 9]), torch.tensor([6, 9, 42, 102])
    results = []
    for model in (tiny_model, PackedModel(tiny_model)):
        tiny_model.zero_grad(set_to_none=True)
        logprobs, entropy = token_logprobs(model, batch, predictors, targets, temperature=0.7, precision=precision, with_entropy=True)
        logprobs.sum().backward()
        results.append((logprobs.detach(), entropy, _gradients(tiny_model)))
    (plain, plain_entropy, plain_gradients), (packed, packed_entropy, packed_gradients) = results
    assert torch.equal(plain, packed) and torch.equal(plain_entropy, packed_entropy)
    assert all(torch.equal(packed_gradients[name], value) for name, value in plain_gradients.items())
    assert float(plain_gradients["lm_head.weight"].abs().sum()) > 0


def test_scores_are_those_of_the_plain_model(tiny_model):
    scorer = create_reward_model(tiny_model, seed=1)
    batch, last = pack_sequences(SEQUENCES), torch.tensor([4, 7, 11])
    plain = token_scores(scorer, batch, last, precision="float32")
    assert torch.equal(token_scores(PackedModel(scorer), batch, last, precision="float32"), plain)
    assert plain.shape == (3,) and len(set(plain.tolist())) == 3


def test_parameters_keep_the_models_own_tensors(tiny_model):
    assert {id(parameter) for parameter in PackedModel(tiny_model).parameters()} == {id(parameter) for parameter in tiny_model.parameters()}
