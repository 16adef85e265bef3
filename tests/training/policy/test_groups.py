"""Groups and rollouts: what is left out, what is counted, and what is refused."""

import pytest
import torch

from components.errors import DataError
from components.generation.sampler import Completion, SamplingOptions
from components.generation.scripted_sampler import ScriptedSampler
from components.training.policy.groups import Answer, Group, PolicyPrompt, live_groups, reward_tensors
from components.training.policy.rollouts import checked_rewards, judge_answers, rollout_seed, sample_groups

NAN = float("nan")
PROMPT = PolicyPrompt("p", "toy", (1, 2, 3))


def answer(reward: float | None, *, finish: str = "stop", tokens: int = 2) -> Answer:
    return Answer(tuple(range(tokens)), (0.0,) * tokens, finish, "text", {"correct": reward})


def test_reward_tensors_keep_rows_and_mark_holes():
    groups = [Group(7, PROMPT, (answer(1.0), answer(None))), Group(9, PROMPT, (answer(0.0), answer(0.5)))]
    expected = torch.tensor([[1.0, NAN], [0.0, 0.5]])
    torch.testing.assert_close(reward_tensors(groups)["correct"], expected, equal_nan=True)


def test_live_groups_leave_out_no_spread_unscored_and_truncated():
    groups = [
        Group(0, PROMPT, (answer(1.0), answer(1.0), answer(1.0))),
        Group(1, PROMPT, (answer(1.0), answer(None), answer(0.0, finish="length"))),
    ]
    advantages = torch.tensor([[0.0, 0.0, 0.0], [0.7, 0.0, -0.7]])
    kept = live_groups(groups, advantages, mask_truncated=True)
    assert [group.advantages for group in kept] == [(pytest.approx(0.7),)]
    both = live_groups(groups, advantages, mask_truncated=False)
    assert len(both[0].answers) == 2


def test_an_answer_of_average_reward_still_counts_in_the_denominator():
    # rewards 1, .5, 0: the middle one's advantage is 0, but its tokens belong to the step
    group = Group(0, PROMPT, (answer(1.0), answer(0.5), answer(0.0)))
    kept = live_groups([group], torch.tensor([[1.0, 0.0, -1.0]]), mask_truncated=True)
    assert kept[0].answer_tokens == 6
    assert kept[0].packed_tokens == 3 + 6


def test_a_group_of_empty_answers_has_nothing_to_learn_from():
    empty = Group(0, PROMPT, (answer(1.0, tokens=0), answer(0.0, tokens=0)))
    mixed = Group(1, PROMPT, (answer(1.0, tokens=0), answer(0.0, tokens=3)))
    kept = live_groups([empty, mixed], torch.tensor([[1.0, -1.0], [1.0, -1.0]]), mask_truncated=True)
    assert [len(group.answers) for group in kept] == [2]


def test_truncation_comes_from_the_finish_reason():
    assert answer(0.0, finish="length").is_truncated
    assert not answer(0.0, finish="stop").is_truncated


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([{"a": 1.0}], "1 values for 2 answers"),
        ([{"a": 1.0}, 0.5], "expected a mapping"),
        ([{"a": 1.0}, {"a": "good"}], "expected a number"),
    ],
)
def test_a_reward_function_that_returns_the_wrong_thing_is_refused(rewards, message):
    with pytest.raises(DataError, match=message):
        checked_rewards(rewards, expected=2)


def test_a_reward_that_is_not_finite_is_unscored():
    assert checked_rewards([{"a": NAN, "b": 1}], expected=1) == [{"a": None, "b": 1.0}]


def test_sampled_ids_and_groups_stay_together():
    prompts = [PolicyPrompt("a", "toy", (1,)), PolicyPrompt("b", "toy", (2,))]
    seen = []

    def reward(asked, texts):
        seen.extend((prompt.id, text) for prompt, text in zip(asked, texts, strict=True))
        return [{"correct": float(text == "yes")} for text in texts]

    batch = sample_groups(
        ScriptedSampler(["yes", "no"]), prompts, reward, options=SamplingOptions(max_new_tokens=8, samples=2), first_group=5
    )
    assert [group.id for group in batch.groups] == [5, 6]
    assert [group.prompt.id for group in batch.groups] == ["a", "b"]
    assert [prompt for prompt, _ in seen] == ["a", "a", "b", "b"]
    for group in batch.groups:
        for item in group.answers:
            assert item.rewards["correct"] == float(item.text == "yes")


class RespellingSampler:
    """Draws ids whose text, tokenised again, would be other ids."""

    def generate(self, prompts, options, *, progress=None):
        return [[Completion((5, 6, 7), (-0.1, -0.2, -0.3), "length", "abc")] * options.samples for _ in prompts]


def test_sampled_ids_and_finish_reasons_are_kept_not_made_from_text():
    batch = sample_groups(
        RespellingSampler(), [PROMPT], lambda asked, texts: [{"correct": 1.0} for _ in texts], options=SamplingOptions(3, samples=2)
    )
    for item in batch.groups[0].answers:
        assert item.ids == (5, 6, 7)
        assert item.sampler_logprobs == (-0.1, -0.2, -0.3)
        assert item.is_truncated


def test_verifier_rollouts_are_averaged_and_failed_ones_left_out():
    scores = iter([1.0, None, 0.0, None, None, None])

    def judge(asked, texts):
        assert texts == ["a"] * 3 + ["b"] * 3
        return [{"correct": next(scores), "format": float(text == "a")} for text in texts]

    # a: judged 1, unscored, 0: .5; b: never scored
    assert judge_answers(judge, [PROMPT, PROMPT], ["a", "b"], rollouts=3) == [
        {"correct": 0.5, "format": 1.0},
        {"correct": None, "format": 0.0},
    ]


def test_a_judge_that_returns_one_value_an_answer_for_several_rollouts_is_refused():
    with pytest.raises(DataError, match="2 values for 4 answers"):
        judge_answers(lambda asked, texts: [{"a": 1.0}] * 2, [PROMPT, PROMPT], ["a", "b"], rollouts=2)


def test_rollout_seeds_differ_by_step_and_round_and_never_change():
    seeds = {rollout_seed(20, step=step, part=part) for step in range(50) for part in range(3)}
    assert len(seeds) == 150
    assert rollout_seed(20, step=0, part=0) == rollout_seed(20, step=0, part=0)
