"""The soft overlong penalty by hand, and that it is a reward beside the others."""

import pytest

from components.training.policy.groups import Answer, Group, PolicyPrompt
from components.training.policy.overlong import OVERLONG, overlong_penalty, penalise_overlong


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (12, 0.0), (13, -0.125), (16, -0.5), (20, -1.0), (25, -1.0)]
)
def test_the_penalty_falls_over_the_buffer(tokens, expected):
    # limit 20, buffer 8: free up to 12, then an eighth a token
    assert overlong_penalty(tokens, limit=20, buffer=8) == pytest.approx(expected)


def answer(tokens: int, rewards: dict[str, float | None]) -> Answer:
    return Answer(tuple(range(tokens)), (0.0,) * tokens, "length" if tokens == 20 else "stop", "", rewards)


def test_it_is_a_reward_of_its_own():
    group = Group(0, PolicyPrompt("p", "toy", (1,)), (answer(16, {"correct": 1.0}), answer(20, {"correct": None})))
    (penalised,) = penalise_overlong([group], limit=20, buffer=8)
    assert [item.rewards for item in penalised.answers] == [{"correct": 1.0, OVERLONG: -0.5}, {"correct": None, OVERLONG: -1.0}]


def test_without_a_buffer_and_for_answers_nothing_judges_nothing_changes():
    group = Group(0, PolicyPrompt("p", "toy", (1,)), (answer(20, {"correct": 1.0}), answer(20, {})))
    assert penalise_overlong([group], limit=20, buffer=0) == [group]
    assert penalise_overlong([group], limit=20, buffer=8)[0].answers[1].rewards == {}
