"""The direct preference losses against numbers worked out by hand."""

import math

import pytest
import torch
from pydantic import ValidationError

from components.training.preference.losses.loss import LossShape
from components.training.preference.losses.registry import PREFERENCE_LOSSES


def loss_of(name: str, difference: float, *, beta: float, label_smoothing: float = 0.0) -> float:
    return float(PREFERENCE_LOSSES[name](torch.tensor([difference]), LossShape(beta, label_smoothing)))


def slope_of(name: str, difference: float, *, beta: float, label_smoothing: float = 0.0) -> float:
    differences = torch.tensor([difference], requires_grad=True)
    PREFERENCE_LOSSES[name](differences, LossShape(beta, label_smoothing)).sum().backward()
    return float(differences.grad)


def test_equal_policies_cost_log_two_or_the_squared_margin():
    assert loss_of("dpo", 0.0, beta=0.1) == pytest.approx(math.log(2), abs=1e-7)
    assert loss_of("cdpo", 0.0, beta=0.1, label_smoothing=0.2) == pytest.approx(math.log(2), abs=1e-7)
    assert loss_of("ipo", 0.0, beta=0.1) == pytest.approx(25.0)  # (0 − 1/.2)²


def test_dpo_by_hand():
    # β h = .5 · 2 = 1: log(1 + e^−1) = .313262; slope −β σ(−1) = −.5 · .268941
    assert loss_of("dpo", 2.0, beta=0.5) == pytest.approx(0.313262, abs=1e-6)
    assert slope_of("dpo", 2.0, beta=0.5) == pytest.approx(-0.134471, abs=1e-6)


def test_ipo_asks_for_its_margin_and_no_more():
    # β = .25 asks for 1/(2 · .25) = 2 nats: (3 − 2)² = 1, slope 2 (3 − 2) = 2 pulls back; at 2 nothing is left to do
    assert loss_of("ipo", 3.0, beta=0.25) == pytest.approx(1.0)
    assert slope_of("ipo", 3.0, beta=0.25) == pytest.approx(2.0)
    assert (loss_of("ipo", 2.0, beta=0.25), slope_of("ipo", 2.0, beta=0.25)) == (0.0, 0.0)


def test_cdpo_mixes_both_labels_and_rests_where_the_doubt_is():
    # ε = .2, β h = 1: .8 · .313262 + .2 · 1.313262
    assert loss_of("cdpo", 2.0, beta=0.5, label_smoothing=0.2) == pytest.approx(0.513262, abs=1e-6)
    # σ(β h) = .8 at β h = log 4 = 1.386294
    assert slope_of("cdpo", 1.386294, beta=1.0, label_smoothing=0.2) == pytest.approx(0.0, abs=1e-6)
    assert loss_of("cdpo", 2.0, beta=0.5) == pytest.approx(loss_of("dpo", 2.0, beta=0.5))


@pytest.mark.parametrize("difference", [-2e4, 2e4])
def test_extreme_differences_stay_finite(difference):
    for name in ("dpo", "cdpo"):
        assert math.isfinite(loss_of(name, difference, beta=0.1, label_smoothing=0.1))
        assert math.isfinite(slope_of(name, difference, beta=0.1, label_smoothing=0.1))


def test_smoothing_without_cdpo_is_refused_and_so_is_cdpo_without(direct_settings):
    for changes in ({"loss": "dpo", "label_smoothing": 0.1}, {"loss": "cdpo"}, {"loss": "ipo", "label_smoothing": 0.1}):
        with pytest.raises(ValidationError, match="label_smoothing"):
            direct_settings(**changes)
    assert direct_settings(loss="cdpo", label_smoothing=0.1).label_smoothing == 0.1


def test_every_loss_of_the_settings_is_in_the_dictionary(direct_settings):
    names = set(type(direct_settings()).model_fields["loss"].annotation.__args__)
    assert names == set(PREFERENCE_LOSSES)
