"""The packed forward as modules equals the packed forward, to the bit, in values and gradients."""

import copy

import pytest
import torch

from components.errors import SettingsError
from components.modeling.adapters import attach_adapters
from components.modeling.packed_model import PackedModel, packed_model
from components.modeling.packed_pass import token_logprobs, token_scores
from components.modeling.packing import pack_sequences
from components.modeling.reading import read_at
from components.rewards.reward_model import create_reward_model
from components.settings.training import AdapterSettings

SEQUENCES = [[5, 6, 7, 8, 9], [40, 41, 42], [100, 101, 102, 103]]


def _gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_log_probabilities_and_gradients_are_those_of_the_plain_model(tiny_model, precision):
    pad = tiny_model.config.pad_token_id
    batch = read_at(pack_sequences([*SEQUENCES, [7, pad, 8]]), [0, 3, 6, 9, 13])
    targets = torch.tensor([6, 9, 42, 102, 8])
    results = []
    for model in (tiny_model, PackedModel(tiny_model)):
        tiny_model.zero_grad(set_to_none=True)
        logprobs, entropy = token_logprobs(model, batch, targets, temperature=0.7, precision=precision, with_entropy=True)
        logprobs.sum().backward()
        results.append((logprobs.detach(), entropy, _gradients(tiny_model)))
    (plain, plain_entropy, plain_gradients), (packed, packed_entropy, packed_gradients) = results
    assert torch.equal(plain, packed) and torch.equal(plain_entropy, packed_entropy)
    assert all(torch.equal(packed_gradients[name], value) for name, value in plain_gradients.items())
    assert float(plain_gradients["lm_head.weight"].abs().sum()) > 0
    assert float(plain_gradients["model.embed_tokens.weight"][pad].abs().sum()) > 0  # a pad token that is read learns


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scores_and_gradients_are_those_of_the_plain_reward_model(tiny_model, precision):
    model, batch, results = create_reward_model(tiny_model, seed=1), read_at(pack_sequences(SEQUENCES), [4, 7, 11]), []
    for read in (model, packed_model(model)):
        model.zero_grad(set_to_none=True)
        scores = token_scores(read, batch, precision=precision)
        scores.square().sum().backward()
        results.append((scores.detach(), _gradients(model)))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(results[1][1][name], value) for name, value in results[0][1].items())
    assert float(results[0][1]["score.weight"].abs().sum()) > 0


def test_recomputed_layers_change_neither_values_nor_gradients(tiny_model):
    batch = read_at(pack_sequences(SEQUENCES), [0, 3, 6])
    results = []
    for recompute in (False, True):
        tiny_model.zero_grad(set_to_none=True)
        logprobs, _ = token_logprobs(
            PackedModel(tiny_model), batch, torch.tensor([6, 9, 42]), precision="bfloat16", recompute=recompute
        )
        logprobs.sum().backward()
        results.append((logprobs.detach(), _gradients(tiny_model)))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(results[1][1][name], value) for name, value in results[0][1].items())


def test_adapters_and_a_tied_head_are_refused(tiny_model):
    tied = copy.deepcopy(tiny_model)
    tied.get_output_embeddings().weight = tied.base_model.embed_tokens.weight
    with pytest.raises(SettingsError, match="tie_word_embeddings"):
        PackedModel(tied)
    attach_adapters(tiny_model, AdapterSettings(rank=2), seed=1)
    with pytest.raises(SettingsError, match=r"adapters\.rank"):
        PackedModel(tiny_model)


def test_parameters_keep_the_models_own_tensors(tiny_model):
    assert {id(parameter) for parameter in PackedModel(tiny_model).parameters()} == {id(parameter) for parameter in tiny_model.parameters()}
