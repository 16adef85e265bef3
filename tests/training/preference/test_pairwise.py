"""Tuning a pairwise reward model: its loss by hand, that it learns a preference in either order, and its favour of a place."""

import pytest
import torch

from components.errors import DataError
from components.recorder import Recorder
from components.rewards.pairwise_model import PairwiseModel
from components.rewards.reward_model import create_reward_model
from components.training.preference.pairwise import both_orders_loss, pairwise_figures, tune_pairwise_model


def test_the_loss_counts_both_orders_by_hand():
    assert float(both_orders_loss(torch.zeros(1), torch.zeros(1))) == pytest.approx(0.693147, abs=1e-6)
    # better first says 1, better second says 2 (wrong): ½ [log(1 + e^−1) + log(1 + e^2)] = ½ [.313262 + 2.126928]
    assert float(both_orders_loss(torch.tensor([1.0]), torch.tensor([2.0]))) == pytest.approx(1.220095, abs=1e-6)


def test_a_model_that_always_likes_the_first_place_costs_more_than_one_that_says_nothing():
    assert float(both_orders_loss(torch.tensor([3.0]), torch.tensor([3.0]))) > 1.5  # log 2 for one that says 0


def test_a_preference_is_learned_and_holds_for_new_pairs_in_either_order(tmp_path, toy_model, toy_tokenizer, toy_pairs, score_settings):
    model, held_out = create_reward_model(toy_model(), seed=1), toy_pairs(45, seed=2)
    before = pairwise_figures(model, toy_tokenizer, held_out, precision="float32")
    tune_pairwise_model(model, toy_tokenizer, toy_pairs(90, seed=1), settings=score_settings(steps=40), seed=5, recorder=Recorder(tmp_path))
    after = pairwise_figures(model, toy_tokenizer, held_out, precision="float32")
    assert before["accuracy"] < 0.9 and before["flipped_share"] > 0.5  # an untuned model says the same whatever the order
    assert after["accuracy"] > 0.95
    assert min(after["accuracy_better_first"], after["accuracy_better_second"]) > 0.9
    assert after["flipped_share"] < 0.1
    found = PairwiseModel(model, toy_tokenizer).compare(
        [pair.messages for pair in held_out], [pair.chosen for pair in held_out], [pair.rejected for pair in held_out]
    )
    assert sum(item.winner() == "first" for item in found) == round(after["accuracy"] * len(held_out))
    assert sum(item.bias for item in found) / len(found) == pytest.approx(after["position_bias"], abs=1e-4)


def test_pairs_of_equal_final_answers_are_left_out(tmp_path, toy_model, toy_tokenizer, toy_pairs, score_settings):
    tie = toy_pairs(1, seed=1)[0].model_copy(update={"chosen": "<think>a</think>tea", "rejected": "tea"})
    with pytest.raises(DataError, match="no preference pairs"):
        tune_pairwise_model(create_reward_model(toy_model(), seed=1), toy_tokenizer, [tie], settings=score_settings(), seed=1, recorder=Recorder(tmp_path))
