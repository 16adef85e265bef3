"""LoRA adapters: our forward against peft's own, the base untouched, and what is saved."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.errors import SettingsError
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.modeling.adapters import attach_adapters, frozen_digest, merged_state, trained_state
from components.modeling.forward import forward_packed
from components.modeling.models import load_model, save_model
from components.modeling.packing import pack_sequences
from components.settings.training import AdapterSettings

SEQUENCES = [[5, 9, 40, 41, 300], [7, 8, 100, 45, 46, 47, 48, 49], [11]]


def _with_adapters(model, *, settings=None, moved=True):
    """Attach adapters; `moved`: with a B away from 0, so that they change what the model computes."""
    attach_adapters(model, settings or AdapterSettings(rank=4, alpha=8), seed=5)
    generator = torch.Generator().manual_seed(6)
    for name, parameter in model.named_parameters():
        if moved and "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def _packed(model, **options):
    return forward_packed(model, pack_sequences(SEQUENCES), precision="float32", **options)


@pytest.mark.parametrize("targets", [AdapterSettings().targets, ("q_proj", "v_proj", "down_proj")], ids=["all", "some"])
def test_equal_to_peft_with_gradients(tiny_model, targets):
    model = _with_adapters(tiny_model, settings=AdapterSettings(rank=4, alpha=8, targets=targets))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * len(targets)  # A and B of each target in each of two layers
    actual = _packed(model)
    weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.cat([model.model(torch.tensor([ids])).last_hidden_state[0] for ids in SEQUENCES])  # through peft's layers
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    ours, theirs = (torch.autograd.grad((hidden * weights).sum(), trained) for hidden in (actual, expected))
    for own, reference in zip(ours, theirs, strict=True):
        scale = reference.abs().max() + 1e-6
        torch.testing.assert_close(own / scale, reference / scale, rtol=0, atol=1e-5)


def test_new_adapters_change_nothing_and_are_all_that_is_trained(tiny_model):
    before = _packed(copy.deepcopy(tiny_model))
    model = _with_adapters(tiny_model, moved=False)
    hidden = _packed(model)
    assert torch.equal(hidden, before)
    hidden.square().sum().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}
    assert all(parameter.grad.abs().max() > 0 for name, parameter in model.named_parameters() if ".lora_B." in name)


def test_off_is_the_base_to_the_bit_and_merged_equals_apart(tiny_model):
    base = copy.deepcopy(tiny_model)
    model = _with_adapters(tiny_model)
    assert torch.equal(_packed(model, adapters="off"), _packed(base))
    torch.testing.assert_close(_packed(model, adapters="merged"), _packed(model), rtol=0, atol=1e-5)
    assert (_packed(model) - _packed(base)).abs().max() > 0.1  # they do change something


def test_the_saved_folder_is_a_plain_model_with_the_adapters_in_it(tiny_model, tiny_tokenizer, tmp_path):
    base = copy.deepcopy(tiny_model)
    model = _with_adapters(tiny_model)
    save_model(model, tiny_tokenizer, tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.state_dict().keys() == base.state_dict().keys()
    assert not any("lora" in name for name, _ in loaded.named_modules())
    ids = torch.tensor([SEQUENCES[1]])
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    assert (loaded(ids).logits - base(ids).logits).abs().max() > 0.1
    assert torch.equal(_packed(load_model(tmp_path)), _packed(model, adapters="merged"))


def test_a_model_without_adapters_is_its_own_merged_state(tiny_model):
    state = merged_state(tiny_model)
    assert state.keys() == tiny_model.state_dict().keys() == trained_state(tiny_model).keys()
    assert frozen_digest(tiny_model) == ""


def test_the_sampler_draws_with_adapters(tiny_model, tiny_tokenizer):
    base = copy.deepcopy(tiny_model)
    model = _with_adapters(tiny_model)
    options = SamplingOptions(max_new_tokens=6, samples=3, seed=4)
    (drawn,), (plain,) = (NativeSampler(each, tiny_tokenizer).generate([SEQUENCES[1]], options) for each in (model, base))
    assert [completion.ids for completion in drawn] != [completion.ids for completion in plain]
    for completion in drawn:
        ids = [*SEQUENCES[1], *completion.ids]
        full = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)  # through peft's layers
        expected = [float(full[len(SEQUENCES[1]) - 1 + place, token].detach()) for place, token in enumerate(completion.ids)]
        assert list(completion.logprobs) == pytest.approx(expected, abs=1e-4)


def test_equal_seeds_give_equal_adapters_and_the_generator_is_left_alone(tiny_model):
    models = [copy.deepcopy(tiny_model) for _ in range(3)]
    state = torch.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        attach_adapters(model, AdapterSettings(rank=2), seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (trained_state(model) for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert frozen_digest(models[0]) == frozen_digest(models[2])


def test_adapters_on_adapters_are_refused(tiny_model):
    model = _with_adapters(tiny_model)
    with pytest.raises(SettingsError, match="carries adapters already"):
        attach_adapters(model, AdapterSettings(rank=2), seed=1)


def test_a_variant_of_lora_is_refused(tiny_model):
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj"], use_dora=True), tiny_model)
    with pytest.raises(SettingsError, match="one plain, unmerged LoRA adapter"):
        _packed(tiny_model)


@pytest.mark.parametrize("has_units", [True, False])
def test_bfloat16_keeps_changes_that_a_merged_matrix_would_round_away(tiny_model, monkeypatch, has_units):
    monkeypatch.setattr("components.modeling.precision.has_bfloat16_units", lambda: has_units)
    base = copy.deepcopy(tiny_model)
    model = _with_adapters(tiny_model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(0.01)  # changes of some 1/1000 of a weight; bfloat16 keeps 1/256
    batch = pack_sequences(SEQUENCES)
    wanted = (forward_packed(model, batch, precision="float32") - forward_packed(base, batch, precision="float32")).detach()
    error = {
        use: (forward_packed(model, batch, precision="bfloat16", adapters=use) - forward_packed(base, batch, precision="bfloat16") - wanted).norm() / wanted.norm()
        for use in ("apart", "merged")
    }
    assert error["apart"] < error["merged"]
