"""The format reward: one think block, short and not empty, then an answer in the form its task asks for, and no more.

The report (§3.3.1) rewards adherence to the output structure apart from correctness; so does this: a wrong code in the
right form scores 1.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from components.cases.case import Case
from components.rewards.answer_parsing import THINK_CLOSE, THINK_OPEN, split_reasoning

MAXIMUM_REASONING_WORDS = 60
_CODE = re.compile(r"[A-Z]\d{2}(?:\.\d{1,2})?")
_TESTS = re.compile(r"tests: [^;:\n]+(?:; [^;:\n]+)*")


def format_score(case: Case, text: str) -> float:
    """Return 1 where the text has the form the case's task asks for, else 0."""
    return float(has_think_block(text) and has_final_form(case.verifier, split_reasoning(text)[1]))


def has_think_block(text: str) -> bool:
    """Say whether a text opens with exactly one think block that is neither empty nor too long."""
    if text.count(THINK_OPEN) != 1 or text.count(THINK_CLOSE) != 1 or not text.lstrip().startswith(THINK_OPEN):
        return False
    reasoning, _ = split_reasoning(text)
    return reasoning is not None and 1 <= len(reasoning.split()) <= MAXIMUM_REASONING_WORDS


def has_final_form(verifier: str, final: str) -> bool:
    """Say whether a final answer has exactly the form a verifier's tasks ask for; other tasks want any text."""
    form = _FORMS.get(verifier)
    return form(final) if form else bool(final)


def _field(final: str, name: str) -> Any:
    try:
        value = json.loads(final)
    except (ValueError, RecursionError):
        return None
    return value[name] if isinstance(value, dict) and list(value) == [name] else None


def _is_code(final: str) -> bool:
    code = _field(final, "icd10")
    return isinstance(code, str) and _CODE.fullmatch(code) is not None


def _is_drug_list(final: str) -> bool:
    drugs = _field(final, "drugs")
    return isinstance(drugs, list) and bool(drugs) and all(isinstance(drug, str) and drug.strip() for drug in drugs)


def _is_exam_answer(final: str) -> bool:
    answer = _field(final, "answer")
    items = answer if isinstance(answer, list) else [answer]
    return bool(items) and all(isinstance(item, str) and item.strip() for item in items)


def _is_test_list(final: str) -> bool:
    return _TESTS.fullmatch(final) is not None


_FORMS: dict[str, Callable[[str], bool]] = {
    "icd_diagnosis": _is_code,
    "drug_choice": _is_drug_list,
    "exam_answer": _is_exam_answer,
    "test_ordering": _is_test_list,
}
