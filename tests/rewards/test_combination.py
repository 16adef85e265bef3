"""Several rewards an answer: who is asked, what is left out, and what is refused."""

import pytest

from components.errors import DataError
from components.rewards.combination import RewardTerm, one_by_one, score_answers


def test_a_term_is_asked_only_about_the_cases_it_applies_to():
    asked = []

    def even(cases, texts):
        asked.append((list(cases), list(texts)))
        return [1.0] * len(cases)

    terms = [RewardTerm("even", even, lambda case: case % 2 == 0), RewardTerm("length", one_by_one(lambda case, text: len(text)))]
    rewards = score_answers(terms, [1, 2, 4], ["a", "bb", "ccc"])
    assert asked == [([2, 4], ["bb", "ccc"])]
    assert rewards == [{"length": 1}, {"even": 1.0, "length": 2}, {"even": 1.0, "length": 3}]


def test_one_value_for_all_is_refused_not_broadcast():
    with pytest.raises(DataError, match="reward single: 1 values for 2 answers"):
        score_answers([RewardTerm("single", lambda cases, texts: [0.5])], [1, 2], ["a", "b"])


def test_a_grader_that_fails_leaves_its_answer_unscored():
    term = RewardTerm("inverse", one_by_one(lambda case, text: 1 / case))
    assert score_answers([term], [2, 0], ["a", "b"]) == [{"inverse": 0.5}, {"inverse": None}]
