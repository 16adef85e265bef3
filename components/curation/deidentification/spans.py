"""Spans of identifiers in a text, and how overlapping finds become one."""

from collections.abc import Iterable
from typing import NamedTuple

# The identifier types, the most certain first: where two finds overlap, the earlier type names the merged span.
TYPES = ("EMAIL", "URL", "ADDRESS", "ORGANIZATION", "ACCOUNT", "ID", "PHONE", "AGE_OVER_89", "DATE", "NAME")


class Span(NamedTuple):
    """An identifier at text[start:end]; code points, end exclusive."""

    start: int
    end: int
    type: str


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Join overlapping spans into one that covers them all; sorted, no overlaps.

    Nothing found is given up: the union is replaced under the type that stands first in `TYPES`.
    """
    merged: list[Span] = []
    for span in sorted(set(spans)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            kind = min(last.type, span.type, key=TYPES.index)
            merged[-1] = Span(last.start, max(last.end, span.end), kind)
        else:
            merged.append(span)
    return merged
