"""The one table from a verifier's name to its function, and `verify`, which never lets a grader's crash score 0."""

from collections.abc import Callable, Mapping
from typing import Any

from components.cases.case import Case
from components.rewards.verdict import Verdict, unscored
from components.rewards.verifiers.drug_choice import drug_choice
from components.rewards.verifiers.exact_text import exact_text
from components.rewards.verifiers.exam_answer import exam_answer
from components.rewards.verifiers.grounded import grounded
from components.rewards.verifiers.icd_diagnosis import icd_diagnosis
from components.rewards.verifiers.listing import listing
from components.rewards.verifiers.safety import safety
from components.rewards.verifiers.test_ordering import test_ordering

Verifier = Callable[[str, Mapping[str, Any]], Verdict]

VERIFIERS: dict[str, Verifier] = {
    "icd_diagnosis": icd_diagnosis,
    "drug_choice": drug_choice,
    "test_ordering": test_ordering,
    "exam_answer": exam_answer,
    "exact_text": exact_text,
    "listing": listing,
    "grounded": grounded,
    "safety": safety,
}

# Judged elsewhere: general answers by rewards/oracle.py, probes by likelihood.
JUDGED_ELSEWHERE = frozenset({"oracle", "likelihood"})


def verify(case: Case, text: str) -> Verdict:
    """Grade a text as an answer to a case; a case no rule can judge, or a grader that fails, is unscored."""
    verifier = VERIFIERS.get(case.verifier)
    if verifier is None:
        return unscored(f"{case.verifier}: judged elsewhere" if case.verifier in JUDGED_ELSEWHERE else f"{case.verifier}: no such verifier")
    try:
        return verifier(text, case.reference)
    except (KeyError, TypeError, ValueError) as error:
        return unscored(f"{case.verifier} failed on case {case.id}: {type(error).__name__}")
