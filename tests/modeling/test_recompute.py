"""Layers computed anew in the backward: the same numbers to the bit, and less kept for it."""

import copy

import pytest
import torch

from components.modeling import attention
from components.modeling.adapters import attach_adapters
from components.modeling.forward import forward_packed
from components.modeling.packing import pack_sequences, pack_trees
from components.settings.training import AdapterSettings

PACKED = {
    "sequences": pack_sequences([list(range(5, 40)), [7, 8, 9], list(range(60, 100))]),
    "tree": pack_trees([[5, 9, 40], [7, 8]], [[[45, 46], [47, 48, 49]], [[11]]]),
}


def _run(model, batch, *, precision, recompute):
    hidden = forward_packed(model, batch, precision=precision, recompute=recompute)
    hidden.square().sum().backward()
    return hidden.detach(), {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("longest_held", [640, 0], ids=["own products", "flash"])
@pytest.mark.parametrize(("precision", "has_units"), [("float32", False), ("bfloat16", False), ("bfloat16", True)])
@pytest.mark.parametrize("layout", PACKED)
@pytest.mark.parametrize("rank", [0, 3])
def test_values_and_gradients_are_the_same_to_the_bit(tiny_model, monkeypatch, longest_held, precision, has_units, layout, rank):
    monkeypatch.setattr("components.modeling.precision.has_bfloat16_units", lambda: has_units)
    monkeypatch.setattr(attention, "LONGEST_HELD", longest_held)
    attach_adapters(tiny_model, AdapterSettings(rank=rank), seed=1)
    other = copy.deepcopy(tiny_model)
    kept, gradients = _run(tiny_model, PACKED[layout], precision=precision, recompute=False)
    again, recomputed = _run(other, PACKED[layout], precision=precision, recompute=True)
    assert torch.equal(kept, again)
    assert gradients.keys() == recomputed.keys()
    assert all(torch.equal(gradients[name], recomputed[name]) for name in gradients)


def test_only_the_layers_inputs_are_kept(tiny_model):
    batch = pack_sequences([list(range(4, 104)) for _ in range(8)])
    kept = {recompute: _bytes_kept(tiny_model, batch, recompute=recompute) for recompute in (False, True)}
    weights = sum(parameter.numel() * 4 for name, parameter in tiny_model.named_parameters() if "layers" in name)
    # 800 tokens, hidden 32: an input of 102 kB a layer, and the last norm's; weights as read, and indices, are kept either way.
    assert kept[True] < 3 * 800 * 32 * 4 + 3 * weights
    assert kept[False] > 10 * 2 * 800 * 32 * 4


def _bytes_kept(model, batch, *, recompute):
    """Bytes of the distinct float tensors that the graph holds for the backward."""
    held = {}

    def pack(tensor):
        if tensor.is_floating_point():
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = forward_packed(model, batch, precision="float32", recompute=recompute)
    assert hidden.requires_grad
    return sum(held.values())
