"""The Bradley–Terry loss against numbers worked out by hand."""

import torch

from components.training.preference.bradley_terry import bradley_terry_loss, pair_accuracy


def loss_of(chosen: float, rejected: float, *, margin: float = 0.0, centring: float = 0.0) -> float:
    return float(
        bradley_terry_loss(torch.tensor([chosen]), torch.tensor([rejected]), margins_P=torch.tensor([margin]), centring=centring)
    )


def test_equal_rewards_cost_log_two():
    assert abs(loss_of(0.3, 0.3) - 0.693147) < 1e-5


def test_the_margin_is_taken_off_the_difference():
    # −log σ(2 − 1) = log(1 + e^−1) = .313262, and the same for a difference of 1 without margin
    assert abs(loss_of(2.0, 0.0, margin=1.0) - 0.313262) < 1e-5
    assert abs(loss_of(1.0, 0.0) - 0.313262) < 1e-5


def test_centring_pulls_the_sum_to_zero():
    # log(1 + e^−1) + .01 · (3 + 2)² = .313262 + .25
    assert abs(loss_of(3.0, 2.0, centring=0.01) - 0.563262) < 1e-5


def test_gradient_is_minus_one_less_sigma():
    # d/dr_c −log σ(r_c − r_r) = σ(d) − 1; at d = 0: −.5 and +.5
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    bradley_terry_loss(chosen, rejected, margins_P=torch.zeros(1), centring=0.0).backward()
    assert float(chosen.grad) == -0.5 and float(rejected.grad) == 0.5


def test_a_tie_is_half_right():
    actual = pair_accuracy(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 2.0]))
    assert actual.tolist() == [1.0, 0.0, 0.5]
