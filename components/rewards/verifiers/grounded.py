"""Answers grounded in numbered passages: facts right × citations right, by keywords alone (no oracle).

Facts: F1 of the facts stated, where a fact that only a misleading passage supports counts against. Citations after
ALCE (arXiv:2305.14627), with the relevant passages known: precision over the numbers cited, recall over the relevant.
"""

import re
from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import mentions, split_reasoning
from components.rewards.verdict import Verdict, abstained

_CITATION = re.compile(r"\[(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\]")


def grounded(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade a cited answer.

    Args:
        text: one or two sentences citing `[n]`.
        reference: `facts`: phrases wanted (a list of alternatives each); `required`: how many give full recall
            (default all); `wrong`: phrases only the other passages support; `relevant`: right passage numbers.
    """
    _, final = split_reasoning(text)
    if not final:
        return abstained("empty answer")
    prose = _CITATION.sub(" ", final)
    right = sum(any(mentions(prose, wording) for wording in wordings) for wordings in reference["facts"])
    wrong = sum(mentions(prose, phrase) for phrase in reference.get("wrong", ()))
    required = int(reference.get("required", len(reference["facts"])))
    facts = _f1(right, right + wrong, required)
    cited = cited_numbers(final)
    relevant = set(reference["relevant"])
    citations = _f1(len(cited & relevant), len(cited), len(relevant))
    return Verdict(facts * citations, f"facts {facts:.2f}, citations {citations:.2f}")


def cited_numbers(text: str) -> set[int]:
    """Return the passage numbers cited in a text as [1] or [1, 2]."""
    return {int(number) for group in _CITATION.findall(text) for number in re.findall(r"\d+", group)}


def _f1(right: int, given: int, wanted: int) -> float:
    if right == 0 or given == 0:
        return 0.0
    precision, recall = right / given, min(1.0, right / wanted)
    return 2 * precision * recall / (precision + recall)
