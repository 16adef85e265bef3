"""Queries to samples, with a scripted sampler and the real rules, oracle and knowledge base."""

from pathlib import Path

import pytest

from components.answers.answers_stage import answer_queries, make_report, select_queries
from components.answers.candidates import question_of
from components.cases.case import Case, Passage
from components.conversations import Message
from components.generation.scripted_sampler import ScriptedSampler
from components.knowledge_base.loading import load_knowledge_base
from components.modeling.tokenizers import train_tokenizer
from components.rewards.oracle import Oracle
from components.settings.training import AnswersSettings

ORACLE = Oracle(load_knowledge_base(Path(__file__).parents[2] / "data/knowledge_base"))
SETTINGS = AnswersSettings(candidates=2, queries=8)
PASSAGES = (
    Passage(document_id="d1", text="Gout is treated with allopurinol.", authority="B", is_relevant=False),
    Passage(document_id="d2", text="Asthma is treated with salbutamol.", authority="A", is_relevant=True),
)


def general_case(number: int = 0) -> Case:
    return Case(
        id=f"general-{number}", split="train", suite="preference", task="general_query", group="g", cluster="asthma", entities=("asthma",),
        combination="x", template="t", messages=(Message(role="user", content="Explain treatment in asthma."),),
        answer="Asthma is first treated with salbutamol and budesonide. See a doctor if it gets worse.", verifier="oracle",
        reference={"disease": "asthma", "aspects": ["treatment"], "population": None}, source_ids=("s1",),
    )  # fmt: skip


def grounded_case(number: int = 0) -> Case:
    lines = "\n".join(f"[{index}] ({passage.authority}) {passage.text}" for index, passage in enumerate(PASSAGES, 1))
    return Case(
        id=f"grounded-{number}", split="train", suite="grounded", task="grounded_answer", group="g", cluster="asthma", entities=("asthma",),
        combination="x", template="t", messages=(Message(role="user", content=f"{lines}\nHow is asthma treated?"),),
        answer="Asthma is treated with salbutamol [2].", verifier="grounded", passages=PASSAGES,
        reference={"facts": [["salbutamol"]], "required": 1, "wrong": ["allopurinol"], "relevant": [2]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["how is asthma treated with salbutamol"] * 4, vocabulary=300)


def longer_is_better(conversations, answers):
    return [float(len(answer)) for answer in answers]


def test_the_best_sound_candidate_becomes_the_sample_and_gold_stands_in_where_none_is_sound(tokenizer):
    sampler = ScriptedSampler([
        ["Asthma is treated with salbutamol.", "Asthma is treated with salbutamol and budesonide."],
        ["Asthma is treated with salbutamol and budesonide.", "Asthma is treated with allopurinol [1]."],
    ])  # fmt: skip
    answered = answer_queries(
        [general_case(), grounded_case()], sampler, tokenizer, {"helpfulness": longer_is_better}, ORACLE, settings=SETTINGS, seed=1
    )
    general, grounded = answered.samples
    assert general.messages[-1].content == "Asthma is treated with salbutamol and budesonide. See a doctor if it gets worse."
    assert (general.case_id, general.source_ids) == ("general-0", ("s1",))
    assert grounded.messages[-1].content == "Asthma is treated with salbutamol [2]."
    report = make_report(answered, answered, ORACLE, replayed=0, seed=1)
    assert report["by_suite"]["grounded"] == {
        "queries": 1, "candidates": 2, "fallback_share": 1.0, "broken_rules": {"no_citation": 0.5, "off_topic_citation": 0.5},
    }  # fmt: skip
    assert report["by_suite"]["preference"]["fallback_share"] == 0.0
    assert report["validation"]["preference"]["best_of_n_minus_first"]["value"] > 0


def test_reward_models_read_the_question_without_its_passages():
    assert question_of(grounded_case())[-1].content == "How is asthma treated?"
    assert question_of(general_case()) == general_case().messages


def test_queries_come_in_the_shares_asked_for_and_one_suite_fills_what_the_other_lacks():
    cases = [*(general_case(number) for number in range(20)), *(grounded_case(number) for number in range(5))]
    settings = AnswersSettings(grounded_share=0.5)
    suites = [case.suite for case in select_queries(cases, count=8, settings=settings, seed=1)]
    assert (suites.count("grounded"), suites.count("preference")) == (4, 4)
    suites = [case.suite for case in select_queries(cases, count=16, settings=settings, seed=1)]
    assert (suites.count("grounded"), suites.count("preference")) == (5, 11)
