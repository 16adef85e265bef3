"""Corruptions and oracle-labelled pairs."""

from pathlib import Path
from random import Random

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.knowledge_base.loading import load_knowledge_base
from components.rewards.corruptions import corrupted_answers
from components.rewards.labelling import make_pairs
from components.rewards.oracle import Oracle

ORACLE = Oracle(load_knowledge_base(Path(__file__).parents[2] / "data/knowledge_base"))
GOLD = "Community-acquired pneumonia is first treated with amoxicillin or clarithromycin. Useful tests are chest X-ray and sputum culture. See a doctor if it gets worse."


def pneumonia_case(number: int = 0, population: str | None = "pregnancy") -> Case:
    return Case(
        id=f"case-{number}-{population}", split="train", suite="preference", task="general", group="general", cluster="community_acquired_pneumonia",
        entities=("community_acquired_pneumonia",), combination="x", template="t",
        messages=(Message(role="user", content="How is community-acquired pneumonia treated, and what tests help?"),), answer=GOLD, verifier="oracle",
        reference={"disease": "community_acquired_pneumonia", "aspects": ["drugs", "tests"], "population": population},
    )  # fmt: skip


def test_the_gold_answer_is_full_marks_and_every_corruption_is_worse_in_the_way_it_was_spoilt():
    case = pneumonia_case(population=None)
    gold = ORACLE.judge(case, GOLD)
    assert (gold.honesty, gold.helpfulness) == (1.0, 1.0)
    versions = corrupted_answers(case, ORACLE, random=Random(3))
    assert {"swapped_drug", "wrong_fact", "dropped_aspect", "wrong_disease", "padded_list", "repeated", "echoed", "other_aspect", "stuttered", "truncated", "empty_advice"} == set(versions)
    scores = {name: ORACLE.judge(case, text) for name, text in versions.items()}
    for name in ("swapped_drug", "wrong_fact", "wrong_disease", "padded_list"):
        assert scores[name].honesty < gold.honesty, name
    for name in ("dropped_aspect", "repeated", "echoed", "other_aspect", "stuttered", "truncated", "empty_advice", "wrong_disease"):
        assert scores[name].helpfulness < gold.helpfulness, name


def test_a_true_answer_to_another_question_is_honest_and_no_help():
    case = pneumonia_case(population=None)
    scores = ORACLE.judge(case, corrupted_answers(case, ORACLE, random=Random(3))["other_aspect"])
    assert (scores.honesty, scores.helpfulness) == (1.0, 0.0)


def test_a_contraindicated_drug_is_offered_where_the_patient_has_one():
    # doxycycline is first-line for pneumonia and to be avoided in pregnancy
    text = corrupted_answers(pneumonia_case(), ORACLE, random=Random(0))["unsafe_drug"]
    assert "doxycycline" in text or "clarithromycin" in text
    assert ORACLE.judge(pneumonia_case(), text).honesty == 0.0


def test_pairs_prefer_the_higher_oracle_score_by_their_margin():
    case = pneumonia_case(population=None)
    for pair in make_pairs([case], {}, ORACLE, seed=1, pairs_per_case=8, minimum_margin=0.2):
        better = getattr(ORACLE.judge(case, pair.chosen), pair.dimension)
        worse = getattr(ORACLE.judge(case, pair.rejected), pair.dimension)
        assert pair.margin == pytest.approx(better - worse, abs=1e-6)
        assert pair.margin >= 0.2


def test_both_dimensions_have_equally_many_pairs_and_length_alone_does_not_predict_the_better():
    cases = [pneumonia_case(number, population) for number in range(20) for population in (None, "pregnancy")]
    pairs = make_pairs(cases, {}, ORACLE, seed=1)
    counts = {dimension: sum(pair.dimension == dimension for pair in pairs) for dimension in ("honesty", "helpfulness")}
    assert counts["honesty"] == counts["helpfulness"] > 40
    longer = sum(len(pair.chosen.split()) > len(pair.rejected.split()) for pair in pairs) / len(pairs)
    assert 0.35 < longer < 0.65


def test_samples_are_candidates_without_their_reasoning_and_the_order_of_cases_changes_no_pair():
    cases = [pneumonia_case(number, None) for number in range(3)]
    samples = {case.id: ["<think>hm</think>Take metformin."] for case in cases}
    forward = {pair.id: pair for pair in make_pairs(cases, samples, ORACLE, seed=1, pairs_per_case=40)}
    backward = {pair.id: pair for pair in make_pairs(cases[::-1], samples, ORACLE, seed=1, pairs_per_case=40)}
    assert forward == backward
    assert any(pair.rejected == "Take metformin." for pair in forward.values())
    assert not any("think" in pair.rejected for pair in forward.values())
