"""Lists of phrases compared as sets: F1 of the items, where recall may stop at `required` of them."""

from collections.abc import Mapping
from typing import Any

from components.rewards.answer_parsing import listed_items, normalised, split_reasoning
from components.rewards.verdict import Verdict, abstained


def listing(text: str, reference: Mapping[str, Any]) -> Verdict:
    """Grade a list.

    Args:
        text: items separated by semicolons (or commas).
        reference: `items`: every right item; `required`: how many give full recall (default all).
    """
    _, final = split_reasoning(text)
    given = set(listed_items(final))
    if not given:
        return abstained("empty list")
    items = {normalised(item) for item in reference["items"]}
    right = len(given & items)
    if right == 0:
        return Verdict(0.0, "no item right")
    precision = right / len(given)
    recall = min(1.0, right / int(reference.get("required", len(items))))
    return Verdict(2 * precision * recall / (precision + recall), f"{right} of {len(given)} items right")
