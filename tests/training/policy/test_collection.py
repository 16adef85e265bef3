"""Collecting a step's groups: refills, metrics by task and the completions table."""

import pytest

from components.generation.scripted_sampler import ScriptedSampler
from components.training.policy.collection import collect_groups, completion_rows
from components.training.policy.groups import PolicyPrompt
from components.training.policy.resampling import PromptResampler

PROMPTS = {name: PolicyPrompt(name, "dose" if name in "ab" else "code", (ord(name),)) for name in "abcd"}


def collect(settings, reward):
    resampler = PromptResampler(ids=sorted(PROMPTS), seed=3, mastered_pass_rate=0.9, readmission=0.0)
    sampler = ScriptedSampler(lambda prompt, sample: "yes" if sample % 2 else "no!")
    collected = collect_groups(
        sampler, PROMPTS, resampler, reward, settings=settings, seed=1, step=0, mastery="correct"
    )
    return collected, resampler


def spread_in(*names):
    def reward(asked, texts):
        return [{"correct": float(text == "yes") if prompt.id in names else 0.5} for prompt, text in zip(asked, texts, strict=True)]

    return reward


def test_groups_without_spread_are_left_out_and_the_next_prompts_take_their_place(toy_settings):
    settings = toy_settings(prompts_per_step=1, completions=4, refill_rounds=3)
    collected, resampler = collect(settings, spread_in("c"))
    place = [group.prompt.id for group in collected.groups].index("c")
    assert len(collected.groups) == collected.rounds == place + 1 > 1
    assert [group.prompt_ids for group in collected.live] == [PROMPTS["c"].ids]
    assert len(resampler.last_rate) == place + 1  # those left out were looked at all the same
    assert [group.id for group in collected.groups] == list(range(place + 1))


def test_refilling_ends_after_its_rounds(toy_settings):
    collected, _ = collect(toy_settings(prompts_per_step=2, completions=4, refill_rounds=1), spread_in())
    assert (collected.rounds, len(collected.groups), collected.live) == (2, 4, [])
    assert collected.metrics({})["no_spread_share"] == 1.0


def test_metrics_are_by_reward_and_by_task(toy_settings):
    collected, _ = collect(toy_settings(prompts_per_step=4, completions=4), spread_in("a", "b", "c"))
    values = collected.metrics({})
    # half of the answers are right where there is spread, and d's count .5 each
    assert values["reward/correct"] == values["correct/dose"] == values["correct/code"] == pytest.approx(0.5)
    assert (values["live_groups"], values["no_spread_share"], values["truncated_share"]) == (3.0, 0.25, 0.0)


def test_the_completions_table_holds_every_reward_and_the_advantage(toy_settings):
    collected, _ = collect(toy_settings(prompts_per_step=4, completions=2, overlong_buffer=4), spread_in("a", "b", "c", "d"))
    rows = completion_rows(collected, groups=1)
    # three bytes an answer, limit 6, buffer 4: (6 − 4 − 3)/4 for both, so the advantages are those of correct, ±.7071
    assert [(row["answer"], row["correct"], row["overlong"], row["finish_reason"]) for row in rows] == [
        ("no!", 0.0, -0.25, "stop"),
        ("yes", 1.0, -0.25, "stop"),
    ]
    assert [row["advantage"] for row in rows] == [pytest.approx(-0.707, abs=1e-3), pytest.approx(0.707, abs=1e-3)]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_every_way_of_scaling_reaches_the_advantages(scale, toy_settings):
    collected, _ = collect(toy_settings(prompts_per_step=4, completions=4, scale_advantages=scale), spread_in("a"))
    row = [group.prompt.id for group in collected.groups].index("a")
    # 1, 0, 1, 0 beside twelve .5: group std .5774; batch variance 4 · .25/15, std .2582; centred ±.5
    expected = {"group": 0.5 / 0.57735, "batch": 0.5 / 0.2582, "none": 0.5}[scale]
    assert collected.advantages_BG[row].abs().tolist() == pytest.approx([expected] * 4, rel=1e-3)
