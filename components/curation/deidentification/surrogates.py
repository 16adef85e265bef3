"""Surrogates: what stands in place of an identifier.

`[NAME-1]`: type and number. Within a document the same value always gets the same number, and the numbers follow the
sorted values, so neither the order of documents nor of finding matters. A surrogate is never found again: replacing
twice changes nothing.
"""

import unicodedata
from collections.abc import Sequence

from components.curation.deidentification.spans import Span


def replace_identifiers(text: str, spans: Sequence[Span]) -> str:
    """Replace sorted, non-overlapping spans by surrogates."""
    numbers = _numbers(text, spans)
    parts: list[str] = []
    position = 0
    for span in spans:
        parts.append(text[position : span.start])
        parts.append(f"[{span.type}-{numbers[(span.type, _key(text, span))]}]")
        position = span.end
    return "".join([*parts, text[position:]])


def _numbers(text: str, spans: Sequence[Span]) -> dict[tuple[str, str], int]:
    values: dict[str, set[str]] = {}
    for span in spans:
        values.setdefault(span.type, set()).add(_key(text, span))
    return {
        (kind, value): number
        for kind, members in values.items()
        for number, value in enumerate(sorted(members), start=1)
    }


def _key(text: str, span: Span) -> str:
    """The value without case, spacing and punctuation: `SMITH, JOHN` and `Smith John` are one, `John Smith` with them."""
    value = unicodedata.normalize("NFKC", text[span.start : span.end]).casefold()
    words = "".join(character if character.isalnum() else " " for character in value).split()
    return " ".join(sorted(words)) if span.type == "NAME" else "".join(words)
