"""Verifiers by hand-derived scores, and their traps."""

import pytest

from components.cases.case import Case
from components.conversations import Message
from components.rewards.verifiers.drug_choice import drug_choice
from components.rewards.verifiers.exact_text import exact_text
from components.rewards.verifiers.exam_answer import exam_answer
from components.rewards.verifiers.grounded import grounded
from components.rewards.verifiers.icd_diagnosis import icd_diagnosis
from components.rewards.verifiers.listing import listing
from components.rewards.verifiers.registry import verify
from components.rewards.verifiers.safety import safety
from components.rewards.verifiers.test_ordering import test_ordering as order_tests


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"icd10": "J45.9"}', 1.0),
        ('<think>COPD? {"icd10": "J44.9"}</think>{"icd10": "j459"}', 1.0),
        ("The code is J45.9.", 1.0),
        ('{"icd10": "J45.0"}', 0.5),  # J45
        ('{"icd10": "J45"}', 0.5),
        ('{"icd10": "J44.9"}', 0.2),  # block J40-J47
        ('{"icd10": "J18.9"}', 0.0),  # chapter only
        ('{"icd10": "J99.99"}', 0.0),  # no such code
        ('{"icd10": ["J45.9", "J44.9"]}', 0.0),  # naming many
        ("J45.9 or J44.9", 0.0),
        ("asthma", 0.0),
    ],
)
def test_diagnosis_is_credited_along_the_icd_hierarchy(text, score):
    assert icd_diagnosis(text, {"icd10": "J45.9"}).score == score


def test_unreadable_diagnosis_is_an_abstention_and_a_wrong_code_is_not():
    assert icd_diagnosis("asthma", {"icd10": "J45.9"}).is_abstained
    assert not icd_diagnosis('{"icd10": "J18.9"}', {"icd10": "J45.9"}).is_abstained


DRUGS = {"acceptable": ["amoxicillin", "doxycycline", "clarithromycin"], "forbidden": ["ibuprofen"], "required": 2}


@pytest.mark.parametrize(
    ("drugs", "score"),
    [
        ('["Amoxicillin", "doxycycline"]', 1.0),
        ('["amoxicillin"]', 0.5),  # precision 1, recall 1/2
        ('["amoxicillin", "amoxicillin"]', 0.5),  # a repetition counts once
        ('["amoxicillin", "doxycycline", "aspirin", "warfarin"]', 0.5),  # precision 2/4, recall 1
        ('["amoxicillin", "doxycycline", "ibuprofen"]', 0.0),  # forbidden
        ("[]", 0.0),
        ('[["amoxicillin"]]', 0.0),
    ],
)
def test_drugs_score_precision_times_recall_and_a_contraindication_zero(drugs, score):
    assert drug_choice(f'{{"drugs": {drugs}}}', DRUGS).score == score


TESTS = {"tests": [["ct"], ["spirometry"], ["full blood count", "fbc"]], "required": 2, "decoys": ["ct pulmonary angiogram"]}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("tests: spirometry; FBC", 1.0),
        ("tests: spirometry", 2 * 1.0 * 0.5 / 1.5),
        ("tests: spirometry; CT pulmonary angiogram", 0.5),  # the longer name is another test: p 1/2, r 1/2
        ("tests: spirometry; fbc; full blood count", 1.0),  # one test twice
        # p 2/5, r 1: F1 4/7, two beyond the three indicated: less .2
        ("tests: spirometry; fbc; x; y; z", 4 / 7 - 0.2),
        ("tests: head scan", 0.0),
        ("tests: ", 0.0),
    ],
)
def test_ordered_tests_score_f1_less_over_ordering(text, score):
    assert order_tests(text, TESTS).score == pytest.approx(score)


EXAM = {"answer": ["dry cough"], "options": ["dry cough", "cough", "fever", "rash"]}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"answer": "Dry cough"}', 1.0),
        ("dry cough", 1.0),
        ("It is dry cough.", 1.0),  # "cough" is part of the longer option
        ('{"answer": "cough"}', 0.0),
        ('{"answer": ["dry cough", "fever"]}', 0.0),
        ("dry cough or fever", 0.0),
        ('{"choice": "dry cough"}', 0.0),
    ],
)
def test_exam_wants_exactly_the_right_options_text(text, score):
    assert exam_answer(text, EXAM).score == score


def test_multiple_response_is_compared_as_a_set():
    reference = {"answer": ["a b", "c d"], "options": ["a b", "c d", "e", "f"]}
    assert exam_answer('{"answer": ["c d", "a b"]}', reference).score == 1.0
    assert exam_answer('{"answer": ["a b"]}', reference).score == 0.0


def test_exact_text_ignores_case_spaces_and_the_final_stop():
    assert exact_text(" Urology. ", {"accept": ["urology"]}).score == 1.0
    assert exact_text("urology clinic", {"accept": ["urology"]}).score == 0.0


def test_listing_is_f1_with_enough_items_for_full_recall():
    reference = {"items": ["fever", "cough", "rash", "chills"], "required": 2}
    assert listing("fever; cough", reference).score == 1.0
    assert listing("fever; stroke", reference).score == pytest.approx(0.5)  # p 1/2, r 1/2
    assert listing("fever; cough; stroke; gout", reference).score == pytest.approx(2 * 0.5 / 1.5)  # p 1/2, r 1


GROUNDED = {"facts": [["salbutamol"], ["budesonide"]], "required": 2, "wrong": ["aspirin"], "relevant": [2]}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Asthma is treated with salbutamol and budesonide [2].", 1.0),
        ("Asthma is treated with salbutamol and budesonide.", 0.0),  # no citation
        ("Asthma is treated with salbutamol and budesonide [1].", 0.0),
        ("Asthma is treated with salbutamol and budesonide [1, 2].", 2 * 0.5 / 1.5),  # citation p 1/2, r 1
        ("Give salbutamol [2].", 2 * 0.5 / 1.5),  # facts p 1, r 1/2
        ("Give salbutamol, budesonide or aspirin [2].", 2 * (2 / 3) / (5 / 3)),  # facts p 2/3, r 1
    ],
)
def test_grounded_is_facts_times_citations(text, score):
    assert grounded(text, GROUNDED).score == pytest.approx(score)


def test_safety_wants_a_warning_only_where_there_is_harm():
    harm, harmless = {"expect": "warn", "about": ["ibuprofen"]}, {"expect": "allow", "about": ["ibuprofen"]}
    assert safety("No, avoid ibuprofen: peptic ulcer.", harm).score == 1.0
    assert safety("No.", harm).score == 0.5
    assert safety("Yes, ibuprofen suits gout.", harm).score == 0.0
    assert safety("Yes, ibuprofen suits gout.", harmless).score == 1.0
    assert safety("No, avoid ibuprofen.", harmless).score == 0.0


def _case(verifier: str, reference: dict) -> Case:
    return Case(
        id="c", split="test", suite="verified", task="t", group="analysis", cluster="d", entities=("d",), combination="d|x|y",
        template="t/train-0", messages=(Message(role="user", content="?"),), answer="", verifier=verifier, reference=reference,
    )  # fmt: skip


def test_a_verifier_that_fails_leaves_the_answer_unscored_never_zero():
    assert verify(_case("drug_choice", {}), '{"drugs": ["a"]}').score is None
    assert verify(_case("oracle", {}), "text").score is None
    assert verify(_case("icd_diagnosis", {"icd10": "XYZ"}), '{"icd10": "J45.9"}').score is None
