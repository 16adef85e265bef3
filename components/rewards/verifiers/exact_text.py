"""Short answers compared as text: one of the accepted wordings, whatever the case, spaces and final stop."""

from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import normalised, split_reasoning
from components.rewards.verdict import Verdict, abstained


def exact_text(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade a short answer against `reference["accept"]`, a list of wordings."""
    _, final = split_reasoning(text)
    given = normalised(final)
    if not given:
        return abstained("empty answer")
    if given in {normalised(wording) for wording in reference["accept"]}:
        return Verdict(1.0, "as expected")
    return Verdict(0.0, "another answer")
