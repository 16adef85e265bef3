"""Ordering of tests by keywords: F1 of the tests named, less a penalty for ordering beyond what is indicated.

Keywords are tried longest first, and the longer names of other tests (`decoys`) are set aside before the shorter
keywords they contain: "CT pulmonary angiogram" is not read as "CT".
"""

import re
from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import listed_items, split_reasoning
from components.rewards.verdict import Verdict, abstained

OVER_ORDERING_PENALTY = 0.1
_LABEL = re.compile(r"^.*?\btests?\s*:\s*", re.IGNORECASE | re.DOTALL)


def test_ordering(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade the tests a text orders.

    Args:
        text: ends with `tests: name; name`.
        reference: `tests`: one list of keywords for each indicated test; `required`: how many of them give full
            recall (default all); `decoys`: longer keywords of other tests.
    """
    _, final = split_reasoning(text)
    items = listed_items(_LABEL.sub("", final, count=1)) if _LABEL.match(final) else listed_items(final)
    if not items:
        return abstained("no tests")
    named = [_test_named(item, reference) for item in items]
    right = len({index for index in named if index is not None})
    wrong = sum(index is None for index in named)
    required = int(reference.get("required", len(reference["tests"])))
    if right == 0:
        return Verdict(0.0, "no indicated test")
    precision, recall = right / (right + wrong), min(1.0, right / required)
    excess = max(0, len(items) - len(reference["tests"]))
    score = 2 * precision * recall / (precision + recall) - OVER_ORDERING_PENALTY * excess
    return Verdict(max(0.0, score), f"{right} indicated, {wrong} not, {required} wanted")


test_ordering.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def _test_named(item: str, reference: Mapping[str, Any]) -> int | None:
    """Return the index of the indicated test an item names, or None."""
    keywords = [(str(word).casefold(), index) for index, words in enumerate(reference["tests"]) for word in words]
    keywords += [(str(word).casefold(), None) for word in reference.get("decoys", ())]
    for word, index in sorted(keywords, key=lambda pair: -len(pair[0])):
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", item):
            return index
    return None
