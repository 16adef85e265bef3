"""The packed forward against transformers' own, values and gradients, for sequences and for trees."""

import pytest
import torch

from components.errors import SettingsError
from components.modeling import attention, precision
from components.modeling.forward import forward_packed
from components.modeling.packing import answer_targets, pack_sequences, pack_trees

LENGTHS = (5, 33, 1, 17, 60, 8, 2, 40, 12, 12, 12, 3, 3, 3, 3)


def _sequences(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 300, (length,), generator=generator).tolist() for length in lengths]


def _gradients(model):
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    return gradients


def _assert_close(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = value.abs().max() + 1e-6
        torch.testing.assert_close(
            actual[name] / scale, value / scale, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("longest_held", [640, 0], ids=["own products", "flash"])
def test_packed_equals_transformers_with_gradients(tiny_model, monkeypatch, longest_held):
    monkeypatch.setattr(attention, "LONGEST_HELD", longest_held)
    sequences = _sequences(LENGTHS)
    weights = torch.randn(sum(LENGTHS), 32, generator=torch.Generator().manual_seed(1))
    actual = forward_packed(tiny_model, pack_sequences(sequences), precision="float32")
    (actual * weights).sum().backward()
    gradients = _gradients(tiny_model)
    expected = torch.cat([tiny_model.model(torch.tensor([ids])).last_hidden_state[0] for ids in sequences])
    (expected * weights).sum().backward()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    _assert_close(gradients, _gradients(tiny_model))


def test_packed_equals_a_padded_batch(tiny_model):
    sequences = _sequences((7, 20, 13))
    padded = torch.tensor([ids + [0] * (20 - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (20 - len(ids)) for ids in sequences])
    expected = tiny_model.model(padded, attention_mask=mask).last_hidden_state[mask.bool()]
    torch.testing.assert_close(
        forward_packed(tiny_model, pack_sequences(sequences), precision="float32"), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("longest_held", [640, 0], ids=["own products", "flash"])
def test_tree_equals_rows_of_their_own_with_gradients(tiny_model, monkeypatch, longest_held):
    monkeypatch.setattr(attention, "LONGEST_HELD", longest_held)
    prompts = _sequences((9, 4, 15))
    answers = [_sequences((6, 1, 3), seed=1), _sequences((0, 5), seed=2), _sequences((2,), seed=3)]
    packed = pack_trees(prompts, answers)
    predictors, targets = answer_targets(packed, answers_per_prompt=[3, 2, 1])
    assert targets.tolist() == [token for group in answers for answer in group for token in answer]
    hidden = forward_packed(tiny_model, packed, precision="float32").index_select(0, predictors)
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    (hidden * weights).sum().backward()
    gradients = _gradients(tiny_model)
    rows = []
    for prompt, group in zip(prompts, answers, strict=True):
        for answer in group:
            states = tiny_model.model(torch.tensor([prompt + answer])).last_hidden_state[0]
            rows.append(states[len(prompt) - 1 : len(prompt) + len(answer) - 1])
    expected = torch.cat(rows)
    (expected * weights).sum().backward()
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-5)
    _assert_close(gradients, _gradients(tiny_model))


def test_a_sequence_does_not_see_its_neighbours(tiny_model):
    first, second, other = _sequences((10, 12, 14))
    together = forward_packed(tiny_model, pack_sequences([first, second]), precision="float32")[:10]
    elsewhere = forward_packed(tiny_model, pack_sequences([first, other]), precision="float32")[:10]
    torch.testing.assert_close(together, elsewhere, rtol=0, atol=1e-6)


@pytest.mark.parametrize("has_units", [True, False], ids=["bfloat16 units", "rounded operands"])
def test_bfloat16_stays_near_float32(tiny_model, monkeypatch, has_units):
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda: has_units)
    batch = pack_sequences(_sequences((30, 20)))
    exact, rounded = (forward_packed(tiny_model, batch, precision=name) for name in ("float32", "bfloat16"))
    # bfloat16 keeps 8 bits: about 0.4 % a product, a few per cent over two layers.
    assert (rounded - exact).norm() / exact.norm() < 0.03
    assert not torch.equal(rounded, exact)


def test_rounded_operands_lose_less_than_bfloat16_units_and_give_their_gradients(tiny_model, monkeypatch):
    batch = pack_sequences(_sequences((30, 20)))
    found = {}
    for name, number_type, has_units in (("exact", "float32", True), ("units", "bfloat16", True), ("rounded", "bfloat16", False)):
        monkeypatch.setattr(precision, "has_bfloat16_units", lambda has_units=has_units: has_units)
        hidden_TD = forward_packed(tiny_model, batch, precision=number_type)
        hidden_TD.square().sum().backward()
        found[name] = {"hidden": hidden_TD.detach(), **_gradients(tiny_model)}
    exact = found.pop("exact")
    off = {name: {key: float((value - exact[key]).norm() / exact[key].norm()) for key, value in values.items()} for name, values in found.items()}
    assert off["rounded"]["hidden"] < off["units"]["hidden"]
    assert sum(off["rounded"].values()) < sum(off["units"].values())
    assert max(off["rounded"].values()) < 0.05


def test_backward_is_deterministic_on_two_threads(tiny_model):
    torch.set_num_threads(2)  # the fixture puts it back
    packed = pack_trees(_sequences((9, 9)), [_sequences((6,) * 8, seed=1), _sequences((6,) * 8, seed=2)])
    runs = []
    for _ in range(3):
        forward_packed(tiny_model, packed, precision="bfloat16").square().sum().backward()
        runs.append(_gradients(tiny_model))
    for name, value in runs[0].items():
        assert torch.equal(value, runs[1][name]) and torch.equal(value, runs[2][name])


def test_other_architectures_are_refused(tiny_model):
    tiny_model.config.model_type = "gpt2"
    with pytest.raises(SettingsError, match="gpt2"):
        forward_packed(tiny_model, pack_sequences([[5, 6]]), precision="float32")
