"""The optimiser: who steps what, and that its state survives a checkpoint bit for bit."""

import pytest
import torch
from torch import nn

from components.settings.training import OptimiserSettings
from components.training.optimisation import create_optimiser, restore_training, step_optimiser, training_tensors


def _model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("embed_tokens", nn.Embedding(7, 6))
    model.add_module("norm", nn.LayerNorm(6))
    model.add_module("layer", nn.Linear(6, 5, bias=False))
    return model


def _step(model, optimiser, *, seed):
    ids = torch.randint(0, 7, (12,), generator=torch.Generator().manual_seed(seed))
    model(ids).square().sum().backward()
    step_optimiser(optimiser, rate=1e-2, clip_norm=1.0)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_run_steps_as_the_undisturbed_one(kind):
    settings = OptimiserSettings(kind=kind, learning_rate=1e-2)
    whole, cut = _model(), _model()
    optimiser, first = create_optimiser(whole, settings), create_optimiser(cut, settings)
    for seed in range(3):
        _step(whole, optimiser, seed=seed)
        _step(cut, first, seed=seed)
    tensors = {name: tensor.clone() for name, tensor in training_tensors(cut, first).items()}
    fresh = _model()
    second = create_optimiser(fresh, settings)
    restore_training(fresh, second, tensors)
    for seed in range(3, 6):
        _step(whole, optimiser, seed=seed)
        _step(fresh, second, seed=seed)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_muon_steps_layers_and_adamw_the_rest_at_its_share_of_the_rate():
    model = _model()
    optimiser = create_optimiser(model, OptimiserSettings(kind="muon", learning_rate=1e-2, outer_rate_share=1.5))
    before = {name: value.clone() for name, value in model.named_parameters()}
    _step(model, optimiser, seed=1)
    change = {name: (value.detach() - before[name]) for name, value in model.named_parameters()}
    # AdamW's first step moves every touched weight by its rate: 1.5 · 1e-2 (decay .01 · .015 · |w| aside)
    touched = change["embed_tokens.weight"].abs().amax(dim=1) > 1e-3
    torch.testing.assert_close(change["embed_tokens.weight"][touched].abs().mean(), torch.tensor(0.015), rtol=0.05, atol=0)
    # Muon's step has the root mean square .2 · rate of AdamW (up to Newton-Schulz' band), where AdamW alone moves by the rate
    root_mean_square = change["layer.weight"].square().mean().sqrt()
    torch.testing.assert_close(root_mean_square, torch.tensor(0.2 * 1e-2), rtol=0.35, atol=0)
