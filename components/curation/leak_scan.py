"""The last look before anything leaves `curate`: does a text still hold something of the form of an identifier?

Wider and simpler than `deidentification/`, and independent of it: a rule that fails there is not repeated here. What it
cannot see: names, addresses and hospitals, which have no form of their own; the report's recall speaks for those.
"""

import re
from collections.abc import Iterable

from components.curation.age_ranges import is_upper_bound
from components.documents import Document
from components.errors import DataError

FORMS = {
    "EMAIL": re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+"),
    "URL": re.compile(r"https?://|\bwww\."),
    "PHONE": re.compile(
        r"(?<![\d.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)|(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)|\+\d{1,3}[ .-]\d{2,4}[ .-]\d{2,4}"
    ),
    "ID": re.compile(r"(?<![\d.])\d{7,}(?!\d)|(?<!\d)\d{3}-\d{2}-\d{3,4}(?!\d)|(?<!\d)\d{17}[\dXx](?!\d)"),
    "DATE": re.compile(
        r"(?<!\d)(?:19|20)\d{2}[-/](?:0?[1-9]|1[0-2])[-/](?:0?[1-9]|[12]\d|3[01])(?!\d)|(?:19|20)\d{2}年\d{1,2}月"
    ),
    "AGE_OVER_89": re.compile(r"(?<!\bover )(?<!\d)(?:9\d|1[01]\d)[ -]?(?:year[s]?[ -]old|岁)"),
}


def leaks(text: str) -> list[str]:
    """Return the types of identifier forms left in a text, sorted."""
    return sorted(kind for kind, form in FORMS.items() if any(_is_leak(kind, text, match.start()) for match in form.finditer(text)))


def refuse_leaks(documents: Iterable[Document]) -> None:
    """Check what is about to be handed on.

    Raises:
        DataError: naming the documents and types (never the text), so that nothing is written.
    """
    found = [
        f"{document.id} ({', '.join(kinds)})"
        for document in documents
        if (kinds := leaks(f"{document.title}\n{document.text}"))
    ]
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise DataError(
            f"artifacts/curate: identifiers may be left in {len(found)} documents: {shown}; nothing was handed on. "
            "Look at these sources, add the form to components/curation/deidentification/patterns.py, then run again"
        )


def _is_leak(kind: str, text: str, start: int) -> bool:
    return kind != "AGE_OVER_89" or not is_upper_bound(text, start)
