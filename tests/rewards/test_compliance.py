"""The principles of the compliance verifier, each broken once."""

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.rewards.compliance import PRINCIPLES, Principle, compliance_report, compliance_score

GOOD = "Asthma is first treated with salbutamol or beclometasone. Useful tests are spirometry and peak flow. See a doctor if it gets worse."
CASE = Case(
    id="c", split="train", suite="preference", task="general", group="generation", cluster="asthma", entities=("asthma",),
    combination="asthma", template="t", messages=(Message(role="user", content="How is asthma treated?"),), answer=GOOD,
    verifier="oracle",
)  # fmt: skip


def test_a_full_mark_answer_keeps_every_principle():
    assert compliance_score(CASE, GOOD) == 1.0
    assert compliance_score(CASE, f"<think>wheeze</think>{GOOD}") == 1.0


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (GOOD[:-1], "complete"),
        (GOOD[0].lower() + GOOD[1:], "complete"),
        ("It helps. " * 3 + "Rest is good. Drink water. See a doctor.", "brief"),
        (GOOD + ' {"drugs": []}.', "plain"),
        ("See a doctor. See a doctor.", "no_repetition"),
        ("Take the the the drug. See a doctor.", "no_repetition"),
        ("Tests for gout are full blood count and full blood count. Tests are full blood count and full blood count. See a doctor.", "no_repetition"),
        ("Asthma is treated with salbutamol.", "care_advice"),
        ("Salbutamol always cures asthma. See a doctor.", "no_promise"),
        ("Call 5551234567 now. See a doctor.", "no_identifiers"),
        ("<think>a</think><think>b</think>" + GOOD, "clean_reasoning"),
    ],
)
def test_a_broken_principle_is_named(text, broken):
    assert not compliance_report(CASE, text)[broken]
    assert compliance_score(CASE, text) < 1.0


def test_the_score_is_the_weighted_share_kept():
    # care advice weighs 2 of 9: without it 7/9
    assert compliance_score(CASE, "Asthma is treated with salbutamol.") == pytest.approx(7 / 9)


def test_an_empty_answer_keeps_nothing():
    assert compliance_score(CASE, "") == 0.0
    assert compliance_score(CASE, "<think>asthma</think>") == 0.0


def test_citations_are_plain_text():
    assert compliance_report(CASE, "Asthma is treated with salbutamol [1]. See a doctor.")["plain"]


def test_a_new_principle_is_one_entry():
    polite = Principle("polite", "Says please.", 3.0, lambda case, text, final: "please" in final.casefold())
    principles = (*PRINCIPLES, polite)
    assert compliance_score(CASE, GOOD, principles=principles) == pytest.approx(9 / 12)
    assert compliance_score(CASE, f"{GOOD[:-1]}, please.", principles=principles) == 1.0
