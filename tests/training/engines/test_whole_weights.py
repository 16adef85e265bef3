"""Parameters replaced by plain ones, for a while or for good."""

import torch
from torch import nn

from components.training.engines.whole_weights import make_plain, plain_for_a_while


def test_the_engines_own_parameters_come_back():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    own = dict(model.named_parameters())
    with plain_for_a_while(model, {name: torch.ones_like(value) for name, value in own.items()}):
        assert float(model(torch.ones(1, 2)).detach()) == 5.0  # (1 + 1) · 1 + (1 + 1) · 1 + 1
    assert all(model.get_parameter(name) is value for name, value in own.items())


def test_what_was_frozen_stays_frozen():
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    make_plain(model, {"weight": torch.zeros(1, 2), "bias": torch.ones(1)})
    assert (model.weight.requires_grad, model.bias.requires_grad) == (True, False)
    assert float(model(torch.ones(1, 2)).detach()) == 1.0
