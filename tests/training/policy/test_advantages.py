"""Group-relative advantages against numbers worked out by hand."""

import pytest
import torch

from components.errors import SettingsError
from components.training.policy.advantages import combined_advantages, group_advantages, group_spread, summed_rewards

NAN = float("nan")


def test_better_answer_gets_positive_advantage():
    # rewards 1, 0: mean .5, sample std .7071, so ±.5/.7071 = ±.7071
    actual = group_advantages(torch.tensor([[1.0, 0.0]]), epsilon=0.0)
    torch.testing.assert_close(actual, torch.tensor([[0.7071, -0.7071]]), rtol=0, atol=1e-4)


def test_one_right_of_four():
    # rewards 1, 0, 0, 0: mean .25, variance (.5625 + 3 · .0625)/3 = .25, std .5, so 1.5 and −.5
    actual = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), epsilon=0.0)
    torch.testing.assert_close(actual, torch.tensor([[1.5, -0.5, -0.5, -0.5]]))


def test_without_scale_only_the_mean_is_taken_away():
    actual = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), scale="none")
    torch.testing.assert_close(actual, torch.tensor([[0.75, -0.25, -0.25, -0.25]]))


def test_batch_scale_divides_every_group_by_one_deviation():
    # All eight: sum 4.5, sum of squares 4.25, variance (4.25 − 4.5²/8)/7 = .24554, std .49552
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.5]])
    actual = group_advantages(rewards, scale="batch", epsilon=0.0)
    expected = torch.tensor([[0.75, -0.25, -0.25, -0.25], [0.125, 0.125, 0.125, -0.375]]) / 0.49552
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_batch_scale_counts_groups_without_spread_and_leaves_unscored_answers_out():
    # 1, 0 and 1, 1: sum 3, squares 3, variance (3 − 9/4)/3 = .25, std .5: ±.5/.5 = ±1; the equal group stays 0
    actual = group_advantages(torch.tensor([[1.0, 0.0, NAN], [1.0, NAN, 1.0]]), scale="batch", epsilon=0.0)
    torch.testing.assert_close(actual, torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_batch_without_any_scored_reward_gives_zero(scale):
    assert group_advantages(torch.full((2, 3), NAN), scale=scale).eq(0).all()


def test_several_rewards_without_scale_are_centred_and_summed():
    rewards = {"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([[0.0, 4.0]])}
    # a: ±.5; b: ∓2, weight .1: ∓.2; together ±.3
    actual = combined_advantages(rewards, {"b": 0.1}, scale="none")
    torch.testing.assert_close(actual, torch.tensor([[0.3, -0.3]]))


def test_equal_rewards_with_float_noise_give_zero():
    # 0.1 + 0.2 and 0.3 differ by 1.5e-8 in float32: their sample std is not 0, their spread is under the tolerance
    noisy = torch.tensor([[0.1, 0.1, 0.1, 0.1]]) + torch.tensor([[0.2, 0.2, 0.2, 0.2 + 3e-8]])
    assert noisy.std() > 0
    assert group_advantages(noisy, epsilon=0.0).eq(0).all()


def test_an_unscored_answer_changes_nothing_for_the_others():
    with_hole = group_advantages(torch.tensor([[1.0, NAN, 0.0, 0.0]]))
    without = group_advantages(torch.tensor([[1.0, 0.0, 0.0]]))
    torch.testing.assert_close(with_hole[:, [0, 2, 3]], without)
    assert with_hole[0, 1] == 0


def test_a_group_does_not_depend_on_the_other_groups():
    rewards_BG = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    whole = group_advantages(rewards_BG)
    parts = torch.cat([group_advantages(row.unsqueeze(0)) for row in rewards_BG])
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(whole.sum(dim=1), torch.zeros(5), rtol=0, atol=1e-5)


def test_a_group_of_one_is_refused():
    with pytest.raises(SettingsError, match="at least 2"):
        group_advantages(torch.tensor([[1.0]]))


def test_spread_leaves_unscored_answers_out():
    rewards = torch.tensor([[0.2, NAN, 0.7], [NAN, NAN, 0.7], [NAN, NAN, NAN]])
    torch.testing.assert_close(group_spread(rewards), torch.tensor([0.5, 0.0, 0.0]))


def test_summed_rewards_weight_and_leave_out_what_does_not_apply():
    rewards = {
        "correct": torch.tensor([[1.0, 0.0], [NAN, NAN]]),
        "format": torch.tensor([[1.0, NAN], [NAN, NAN]]),
        "honesty": torch.tensor([[NAN, NAN], [3.0, -1.0]]),
    }
    # first prompt: 1 + .2 · 1, and an unscored format makes the sum unscored; second: honesty alone, weight 1
    actual = summed_rewards(rewards, {"correct": 1.0, "format": 0.2})
    torch.testing.assert_close(actual, torch.tensor([[1.2, NAN], [3.0, -1.0]]), equal_nan=True)


def test_rewards_of_different_scale_count_by_weight_when_normalised_apart():
    # Each column is ±.7071 within its group whatever its scale; 1 · .7071 − .5 · .7071 = ±.35355 in both groups.
    # Batch: variance 4 · .35355² / 3 = 1/6, so ±.35355 / .40825 = ±.8660
    rewards = {"small": torch.tensor([[0.1, 0.0], [0.2, 0.1]]), "large": torch.tensor([[0.0, 100.0], [-50.0, 50.0]])}
    actual = combined_advantages(rewards, {"small": 1.0, "large": 0.5}, epsilon=0.0)
    torch.testing.assert_close(actual, torch.tensor([[0.8660, -0.8660], [0.8660, -0.8660]]), rtol=0, atol=1e-4)


def test_a_group_without_any_spread_stays_out_of_the_batch_scale():
    lively = {"a": torch.tensor([[1.0, 0.0]])}
    with_dead = {"a": torch.tensor([[1.0, 0.0], [0.5, 0.5]])}
    expected = combined_advantages(lively, {})
    actual = combined_advantages(with_dead, {})
    torch.testing.assert_close(actual[:1], expected)
    assert actual[1].eq(0).all()


def test_a_reward_that_does_not_apply_leaves_the_others_alone():
    alone = combined_advantages({"a": torch.tensor([[1.0, 0.0, 0.5]])}, {})
    beside = combined_advantages({"a": torch.tensor([[1.0, 0.0, 0.5]]), "b": torch.full((1, 3), NAN)}, {})
    torch.testing.assert_close(alone, beside)
