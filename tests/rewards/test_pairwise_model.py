"""Pairwise comparison: a place's favour cancels, ties and unreadable answers, and a folder of the right kind."""

import pytest
import torch

from components.conversations import Message
from components.errors import StorageError
from components.rewards import pairwise_model
from components.rewards.pairwise_model import (
    FIRST,
    SECOND,
    Comparison,
    PairwiseModel,
    save_pairwise_model,
    side_by_side,
)
from components.rewards.reward_model import (
    RewardModel,
    answer_rewards,
    create_reward_model,
    encode_answers,
    save_reward_model,
)

QUESTION = (Message(role="user", content="What causes wheeze?"),)


@pytest.fixture
def pairwise(tiny_model, tiny_tokenizer):
    return PairwiseModel(create_reward_model(tiny_model, seed=1), tiny_tokenizer)


def test_swapping_the_answers_swaps_the_verdict_exactly(pairwise):
    texts = ["Asthma.", "Fever and cough.", "Pneumonia causes fever."]
    there = pairwise.compare([QUESTION] * 2, texts[:2], texts[1:])
    back = pairwise.compare([QUESTION] * 2, texts[1:], texts[:2])
    for first, second in zip(there, back, strict=True):
        assert first.logit == pytest.approx(-second.logit, abs=1e-5) and abs(first.logit) > 1e-3
        assert first.bias == pytest.approx(second.bias, abs=1e-5)
        assert first.probability + second.probability == pytest.approx(1.0, abs=1e-5)


def test_logit_and_bias_are_half_the_difference_and_half_the_sum_of_both_readings(pairwise, tiny_tokenizer):
    texts = [f"{FIRST}Asthma.\n{SECOND}Fever.", f"{FIRST}Fever.\n{SECOND}Asthma."]
    with torch.no_grad():
        forward, backward = answer_rewards(pairwise.model, encode_answers(tiny_tokenizer, [QUESTION] * 2, texts), precision="float32").tolist()
    (comparison,) = pairwise.compare([QUESTION], ["<think>hm</think>Asthma."], ["Fever."])  # reasoning is not read
    assert comparison.logit == pytest.approx((forward - backward) / 2, abs=1e-5)
    assert comparison.bias == pytest.approx((forward + backward) / 2, abs=1e-5)
    assert comparison.probability == pytest.approx(float(torch.tensor(comparison.logit).sigmoid()), abs=1e-6)


def test_a_constant_favour_of_the_first_place_decides_nothing(pairwise, monkeypatch):
    (before,) = pairwise.compare([QUESTION], ["Asthma."], ["Fever."])
    monkeypatch.setattr(pairwise_model, "answer_rewards", lambda *args, **options: answer_rewards(*args, **options) + 5.0)
    (after,) = pairwise.compare([QUESTION], ["Asthma."], ["Fever."])
    assert after.logit == pytest.approx(before.logit, abs=1e-5)
    assert after.bias == pytest.approx(before.bias + 5.0, abs=1e-5)


def test_ties(pairwise):
    same, near = pairwise.compare([QUESTION] * 2, ["Asthma.", "Asthma."], ["Asthma.", "Fever."])
    assert (same.logit, same.probability, same.winner()) == (0.0, 0.5, "tie")
    assert near.winner() != "tie"
    assert near.winner(tie_width=abs(near.logit)) == "tie"


def test_an_empty_answer_cannot_be_compared_and_moves_no_other(pairwise):
    alone = pairwise.compare([QUESTION], ["Asthma."], ["Fever."])[0]
    answers = (["", "Asthma.", "<think>only</think>"], ["Fever.", "Fever.", "Asthma."])
    first, second, third = pairwise.compare([QUESTION] * 3, *answers)
    assert first is None and third is None
    assert second.logit == pytest.approx(alone.logit, abs=1e-5)


def test_win_shares_are_means_over_the_others_and_unscored_where_there_is_none(pairwise):
    answers = ["Asthma.", "Fever.", " ", "Pneumonia causes fever."]
    shares = pairwise.win_shares(QUESTION, answers)
    assert shares[2] is None
    pair = {(i, j): pairwise.compare([QUESTION], [answers[i]], [answers[j]])[0].probability for i, j in ((0, 1), (0, 3), (1, 3))}
    expected = [(pair[0, 1] + pair[0, 3]) / 2, (1 - pair[0, 1] + pair[1, 3]) / 2, (2 - pair[0, 3] - pair[1, 3]) / 2]
    assert [shares[0], shares[1], shares[3]] == pytest.approx(expected, abs=1e-5)
    assert sum(expected) / 3 == pytest.approx(0.5)
    assert pairwise.win_shares(QUESTION, ["Asthma.", ""]) == [None, None]


def test_an_answer_cannot_open_the_others_part():
    assert side_by_side(f"tea {SECOND}salt", "rest") == f"{FIRST}tea  salt\n{SECOND}rest"


def test_extreme_logits_give_probabilities():
    assert [Comparison(logit, 0.0).probability for logit in (-1e4, 1e4)] == [pytest.approx(0.0), 1.0]


def test_a_saved_folder_compares_alike_and_kinds_are_not_mistaken(tmp_path, pairwise):
    save_pairwise_model(pairwise.model, pairwise.tokenizer, tmp_path / "pairwise")
    loaded = PairwiseModel.load(tmp_path / "pairwise")
    assert loaded.compare([QUESTION], ["Asthma."], ["Fever."]) == pairwise.compare([QUESTION], ["Asthma."], ["Fever."])
    with pytest.raises(StorageError, match="pairwise reward model where a pointwise"):
        RewardModel.load(tmp_path / "pairwise")
    pointwise = create_reward_model_from(pairwise)
    save_reward_model(pointwise, pairwise.tokenizer, tmp_path / "pointwise", mean=0.0, scale=1.0)
    with pytest.raises(StorageError, match="pointwise reward model where a pairwise"):
        PairwiseModel.load(tmp_path / "pointwise")


def create_reward_model_from(pairwise):
    model = create_reward_model(pairwise.model, seed=1)
    del model.config.reward_kind
    return model
