"""The rules a candidate must keep, one by one."""

from pathlib import Path

import pytest

from components.answers.rule_checks import broken_rules
from components.cases.case import Case, Passage
from components.conversations import Message
from components.generation.sampler import Completion
from components.knowledge_base.loading import load_knowledge_base
from components.rewards.mentions import MentionFinder

FINDER = MentionFinder(load_knowledge_base(Path(__file__).parents[2] / "data/knowledge_base"))
PASSAGES = (
    Passage(document_id="d1", text="Asthma is treated with salbutamol.", authority="A", is_relevant=True),
    Passage(document_id="d2", text="Gout is treated with allopurinol.", authority="B", is_relevant=False),
)


def case(passages: tuple[Passage, ...] = ()) -> Case:
    question = "How is asthma treated?"
    shown = "\n".join(f"[{number}] ({passage.authority}) {passage.text}" for number, passage in enumerate(passages, 1))
    return Case(
        id="c", split="train", suite="grounded" if passages else "preference", task="t", group="g", cluster="asthma", entities=("asthma",),
        combination="x", template="t", messages=(Message(role="user", content=f"{shown}\n{question}".strip()),),
        answer="Asthma is treated with salbutamol [1].", verifier="grounded", passages=passages,
    )  # fmt: skip


def said(text: str, reason: str = "stop") -> Completion:
    return Completion((), (), reason, text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Asthma is treated with salbutamol [1].", ()),
        ("<think>so</think>Asthma is treated with salbutamol [1].", ()),
        ("Asthma is treated with salbutamol.", ("no_citation",)),
        ("Asthma is treated with salbutamol [3].", ("unknown_citation",)),
        ("Asthma is treated with salbutamol [0].", ("unknown_citation",)),
        ("Asthma is treated with metformin [1].", ("unsupported",)),
        ("Asthma is treated with allopurinol [2].", ("off_topic_citation",)),
        ("Asthma is treated with salbutamol [2].", ("off_topic_citation", "unsupported")),
        ("Asthma [1]. Asthma [1].", ("repetitive",)),
        ("", ("empty",)),
        ("<think>salbutamol</think>", ("empty",)),
    ],
)
def test_grounded_answers_cite_what_they_say(text, expected):
    assert broken_rules(case(PASSAGES), said(text), FINDER) == expected


def test_an_answer_cut_by_the_length_limit_is_unfinished():
    assert broken_rules(case(), said("Asthma is treated with salbutamol.", "length"), FINDER) == ("unfinished",)
    assert broken_rules(case(), said("Asthma is treated with salbutamol and"), FINDER) == ("unfinished",)


def test_a_drug_the_patient_must_not_get_is_unsafe_but_a_warning_of_it_is_not():
    unsafe = frozenset({"salbutamol"})
    assert broken_rules(case(), said("Asthma is treated with salbutamol."), FINDER, unsafe_drugs=unsafe) == ("unsafe_drug",)
    assert broken_rules(case(), said("In asthma avoid salbutamol."), FINDER, unsafe_drugs=unsafe) == ()


def test_an_answer_about_another_disease_or_about_nothing_has_the_wrong_subject():
    assert broken_rules(case(), said("Gout is treated with allopurinol."), FINDER) == ("wrong_subject",)
    assert broken_rules(case(), said("Stay well."), FINDER) == ("wrong_subject",)
    assert broken_rules(case(), said("Useful tests are spirometry and peak flow."), FINDER) == ("wrong_subject",)


def test_a_general_answer_has_no_passage_to_cite():
    assert broken_rules(case(), said("Asthma is treated with salbutamol [1]."), FINDER) == ("unknown_citation",)
