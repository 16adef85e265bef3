"""Strata, difficulty, spread and the division between the stages."""

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.errors import DataError
from components.prompts.difficulty import difficulty_report, histogram, measure_difficulty, usable_prompts
from components.prompts.prompts_stage import draw_general, general_spreads, interleave, split_stages
from components.prompts.spread import reward_spreads
from components.prompts.strata import count_strata, stratified_draw
from components.settings.training import PromptsSettings


def case(name: str, *, task: str = "diagnosis", cluster: str = "asthma", suite: str = "verified") -> Case:
    return Case(
        id=name, split="train", suite=suite, task=task, group="g", cluster=cluster, entities=(cluster,), combination=name, template="t",  # type: ignore[arg-type]
        messages=(Message(role="user", content="Q?"),), answer="yes", verifier="exact_text", reference={"accept": ["yes"]},
    )  # fmt: skip


def test_tasks_share_equally_and_entities_take_turns():
    cases = [case(f"a{number}", task="a", cluster="common") for number in range(50)]
    cases += [case(f"a-rare{number}", task="a", cluster="rare") for number in range(3)]
    cases += [case(f"b{number}", task="b") for number in range(4)]
    drawn = stratified_draw(cases, count=10, seed=1, word="w")
    # four of b, so six of a: the two entities in turn
    assert count_strata(drawn) == {"a": {"cases": 6, "entities": 2}, "b": {"cases": 4, "entities": 1}}
    assert sum(item.cluster == "rare" for item in drawn) == 3


def test_a_draw_does_not_depend_on_the_order_of_the_cases_and_differs_by_its_word():
    cases = [case(f"c{number}", cluster=f"d{number % 7}") for number in range(60)]
    first = stratified_draw(cases, count=20, seed=1, word="w")
    assert first == stratified_draw(cases[::-1], count=20, seed=1, word="w")
    assert first != stratified_draw(cases, count=20, seed=1, word="other")


def test_the_largest_rank_of_an_entity_goes_first():
    cases = [case(f"c{number}", cluster=f"d{number % 2}") for number in range(10)]
    drawn = stratified_draw(cases, count=2, seed=1, word="w", rank=lambda item: float(item.id[1:]))
    assert {item.id for item in drawn} == {"c8", "c9"}


@pytest.mark.parametrize(
    ("texts", "rate", "outcome"),
    [
        (["yes", "no", "no", "no"], 0.25, "kept"),
        (["no"] * 4, 0.0, "too_hard"),
        (["yes"] * 4, 1.0, "too_easy"),
    ],
)
def test_prompts_always_or_never_solved_are_left_out(texts, rate, outcome):
    difficulty = measure_difficulty(case("x"), texts, minimum=0.05, maximum=0.95)
    assert (difficulty.pass_rate, difficulty.outcome) == (rate, outcome)


def test_a_prompt_always_half_right_has_no_spread_to_learn_from():
    # one of two items: precision 1, recall 1/2, F1 2/3 every time
    listing = case("x").model_copy(update={"verifier": "listing", "reference": {"items": ["a", "b"]}})
    difficulty = measure_difficulty(listing, ["a", "a"], minimum=0.05, maximum=0.95)
    assert (difficulty.pass_rate, difficulty.outcome) == (pytest.approx(2 / 3), "no_spread")


def test_a_case_no_verifier_knows_is_unscored_not_hard():
    unknown = case("x").model_copy(update={"verifier": "nobody"})
    assert measure_difficulty(unknown, ["yes"], minimum=0.05, maximum=0.95).outcome == "unscored"


def test_histogram_counts_tenths_with_one_in_the_last():
    assert histogram([0.0, 0.05, 0.1, 0.95, 1.0]) == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]


def test_the_report_counts_every_prompt_once_a_task():
    difficulties = [measure_difficulty(case(str(n), task="ab"[n % 2]), ["yes", "no"], minimum=0.05, maximum=0.95) for n in range(6)]
    report = difficulty_report(difficulties)
    assert report["all"]["prompts"] == 6
    assert report["a"] == {"prompts": 3, "mean_pass_rate": 0.5, "histogram": [0, 0, 0, 0, 0, 3, 0, 0, 0, 0], "outcomes": {"kept": 3}}


def test_spread_does_not_depend_on_a_reward_models_scale():
    table = [[0.0, 1.0], [2.0, 2.0]]
    scaled = [[100 * value for value in row] for row in table]
    # standardised: mean 1.25, sd .8292; first prompt's sd is .5/.8292
    assert reward_spreads({"honesty": table}) == pytest.approx([0.5 / 0.829156, 0.0], abs=1e-5)
    assert reward_spreads({"honesty": table, "helpfulness": scaled}) == pytest.approx(reward_spreads({"honesty": table}))


def test_reward_models_see_answers_without_reasoning():
    seen = []

    def scorer(conversations, answers):
        seen.extend(answers)
        return [float(len(answer)) for answer in answers]

    spreads = general_spreads([case("x"), case("y")], [["<think>a</think>b", "bb"], ["c", "c"]], {"honesty": scorer})
    assert seen == ["b", "bb", "c", "c"]
    assert spreads["x"] > spreads["y"] == 0.0


def test_safety_prompts_are_ranked_by_their_rule_and_stand_evenly_among_the_others():
    refusing = case("s", suite="safety").model_copy(update={"verifier": "safety", "reference": {"expect": "warn", "about": []}})
    # scores 1, 0, 1, 0: standard deviation .5
    spreads = general_spreads([refusing], [["No, avoid it.", "Yes.", "Never.", "Fine."]], {})
    assert spreads == {"s": pytest.approx(0.5)}
    pool = [case(f"p{number}", cluster=f"d{number}", suite="preference") for number in range(6)]
    pool += [case(f"s{number}", suite="safety") for number in range(4)]
    drawn = draw_general(pool, {item.id: float(item.id[1:]) for item in pool}, wanted={"preference": 4, "safety": 2}, seed=1)
    # places (i + .5) / 4: .125 .375 .625 .875; (j + .5) / 2: .25 .75
    assert [item.suite for item in drawn] == ["preference", "safety", "preference", "preference", "safety", "preference"]
    assert {item.id for item in drawn if item.suite == "safety"} == {"s3", "s2"}


def test_the_stages_share_no_prompt_and_a_shortage_is_borne_in_proportion():
    settings = PromptsSettings(reasoning_prompts=60, general_prompts=10)
    kept = [case(f"c{number}", task="ab"[number % 2], cluster=f"d{number % 9}") for number in range(45)]
    first, second = split_stages(kept, settings=settings, general=10, seed=1)
    # 60 + 30 wanted, 45 there: half of each
    assert (len(first), len(second)) == (30, 15)
    assert not {item.id for item in first} & {item.id for item in second}


def test_a_shortage_is_filled_with_prompts_outside_the_limits_whose_answers_still_differ():
    def measured(name, texts):
        return measure_difficulty(case(name), texts, minimum=0.3, maximum=0.7)

    difficulties = [
        measured("kept", ["yes", "no"]), measured("rare", ["yes", *["no"] * 7]), measured("often", ["yes", "yes", "yes", "no"]),
        measured("never", ["no", "no"]), measured("always", ["yes", "yes"]),
    ]  # fmt: skip
    # .75 is nearer one half than .125; never and always teach nothing whatever the shortage
    cases, filled = usable_prompts(difficulties, wanted=2)
    assert ([item.id for item in cases], filled) == (["kept", "often"], 1)
    cases, filled = usable_prompts(difficulties, wanted=99)
    assert ([item.id for item in cases], filled) == (["kept", "often", "rare"], 2)


def test_no_prompt_of_middling_difficulty_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match=r"prompts\.pool"):
        split_stages([], settings=PromptsSettings(), general=10, seed=1)


def test_stage_two_has_three_reasoning_prompts_to_one_general():
    mixed = interleave([case(f"r{number}") for number in range(7)], [case(f"g{number}", suite="preference") for number in range(9)])
    assert [item.id for item in mixed] == ["r0", "r1", "r2", "g0", "r3", "r4", "r5", "g1"]
