"""Pairs of rewarded answers: best against worst, ties and unscored answers left out."""

import pytest

from components.conversations import Message
from components.errors import DataError
from components.training.preference.rewarded_pairs import best_and_worst_pairs


def pairs_of(answers, rewards):
    conversations = [(Message(role="user", content=f"q{number}"),) for number in range(len(answers))]
    return [(pair.chosen, pair.rejected, pair.margin) for pair in best_and_worst_pairs(conversations, answers, rewards, dimension="honesty")]


def test_the_best_stands_against_the_worst_of_its_prompt():
    assert pairs_of([["a", "b", "c"], ["d", "e"]], [[0.5, 2.0, -1.0], [0.25, 0.0]]) == [("b", "c", 3.0), ("d", "e", 0.25)]


def test_unscored_answers_and_ties_give_no_pair():
    # a None is not the worst; one scored answer, none, equal rewards, float noise, equal texts: nothing is preferred
    assert pairs_of([["a", "b", "c"]], [[None, 2.0, 1.0]]) == [("b", "c", 1.0)]
    assert pairs_of([["a", "b"], ["a", "b"], ["a", "b"], ["a", "b"], ["a", "a"]], [[None, 2.0], [None, None], [1.0, 1.0], [0.1 + 0.2, 0.3], [0.0, 1.0]]) == []


def test_a_wrong_number_of_rewards_is_refused():
    with pytest.raises(DataError, match="1 rewards for 2 answers"):
        pairs_of([["a", "b"]], [[1.0]])
    with pytest.raises(DataError, match="2 of rewards"):
        pairs_of([["a"]], [[1.0], [2.0]])
