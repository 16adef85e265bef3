"""Every identifier of a text: forms, context, places, then further mentions of the names found.

What it does not find: names in no context of names, places without a street or institution, rare identifiers in
prose. The curation report measures recall and precision on gold spans where the sources have them.
"""

import re

from components.curation.deidentification.chinese import find_chinese
from components.curation.deidentification.context import find_labelled_numbers, find_mentions, find_names
from components.curation.deidentification.patterns import find_patterns
from components.curation.deidentification.places import find_addresses, find_organizations
from components.curation.deidentification.spans import TYPES, Span, merge_spans

CHINESE = re.compile(r"[一-龥]")
MASK = "■"
SURROGATE = re.compile(rf"\[(?:{'|'.join(TYPES)})-\d+\]")


def find_identifiers(text: str) -> list[Span]:
    """Return the identifiers of a text, sorted, none overlapping; surrogates already in it are left alone.

    What is found is masked and the rest searched again, until nothing new shows: an identifier glued to another one is
    seen only when that one is gone.
    """
    masked = SURROGATE.sub(lambda match: MASK * len(match.group()), text)
    found: list[Span] = []
    while spans := merge_spans(_settled(_search(masked))):
        found += spans
        for span in spans:
            masked = masked[: span.start] + MASK * (span.end - span.start) + masked[span.end :]
    return merge_spans(found)


def _search(text: str) -> list[Span]:
    found = [*find_patterns(text), *find_labelled_numbers(text), *find_addresses(text), *find_organizations(text)]
    names = list(find_names(text))
    found += names
    found += find_mentions(text, [text[span.start : span.end] for span in names])
    if CHINESE.search(text):
        found += find_chinese(text)
    return [span for span in found if MASK not in text[span.start : span.end]]


def _settled(spans: list[Span]) -> list[Span]:
    """Drop a name or date that touches an address or organisation, which covers it or begins within it."""
    places = [span for span in spans if span.type in ("ADDRESS", "ORGANIZATION")]
    return [
        span
        for span in spans
        if span.type not in ("NAME", "DATE", "PHONE")
        or not any(place.start <= span.start and span.end <= place.end for place in places)
    ]
