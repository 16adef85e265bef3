"""Postal addresses and named hospitals or clinics, English and European forms."""

# ruff: noqa: SIM905  (a word list reads better as text)
import re
from collections.abc import Iterator

from components.curation.deidentification.context import LOWER, UPPER, WORD
from components.curation.deidentification.spans import Span

STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Court|Ct|Way|Boulevard|Blvd|Place|Pl|Square|Sq|Terrace|Close|Crescent|Grove|Parkway|"
    r"Highway|Circle|Row|Walk|Gardens|Hill|Park|Mews|Quay|Rise)"
)
REGION = rf"(?:, ?(?:{WORD}|[{UPPER}]{{2,}}|\d{{2,6}}(?:[ -]\d{{2,4}})?)(?: (?:{WORD}|[{UPPER}\d]{{2,4}}(?! ?:)|\d{{2,6}}(?:-\d{{2,4}})?)){{0,4}})"
NUMBERED_STREET = re.compile(
    rf"(?<![\w.])(?:(?:Apt|Flat|Unit|Suite|P\.?O\.? Box)\.? ?\w+, ?)?\d{{1,5}}[A-Za-z]? (?:{WORD} ){{1,4}}{STREET}\b\.?{REGION}{{0,4}}"
)
BOX = re.compile(rf"\b(?:P\.?O\.? ?Box|Postbox|Postboks|Postfach) \d+{REGION}{{0,3}}")
# After these words an address runs to the end of the clause.
LED_IN = re.compile(
    r"\b(?i:lives? at|living at|resides? at|residing at|address(?: is|:)|home address:?|moved to|drove me here from|same place\?\s*patient\s?: (?:yes|yeah|no|sure),?) "
    r"((?=[^\n;]{0,40}\d)[^\n;]{8,110}?)(?=\.(?:\s|$)|[;\n]|$)"
)
# A line of its own that holds nothing but capitalised words, numbers and commas (a letterhead).
LINE_WORD = rf"(?:[{UPPER}][\w.'’-]*|\d[\w./-]*|d['’][{UPPER}]\w+|de|da|do|la|le|du|des|rue|ul\.|út|utca|van|der|den|am|an|im|vei|gatan|Nad|na|nad)"
LETTERHEAD = re.compile(rf"(?m)^(?=[^\n]*\d)(?=[^\n]*,)({LINE_WORD}(?:,? {LINE_WORD}){{2,10}})$")
TAIL_ABBREVIATION = re.compile(rf"(?:\b(?:ul|út|St|Gl|Rd|Ave|Dr|Nr|No|str)|\d|[{LOWER}]{{1,3}})$")

GENERIC = r"(?:General|Regional|Family|Community|University|Memorial|Medical|Children's|Veterans|City|County|District|Women's|Teaching|Health|Care)"
INSTITUTION = (
    r"(?:Hospital|Clinic|Medical Cent(?:er|re)|Infirmary|Health Cent(?:er|re)|Healthcare|Nursing Home|Hospice|Medical Group|Medical Practice|"
    r"Family Practice|Surgery Cent(?:er|re)|Rehabilitation Cent(?:er|re)|Cancer Cent(?:er|re)|Polyclinic|Sanatorium)"
)
ORGANIZATION = re.compile(
    rf"(?<!\w)((?:St\. |Saint |Mount |Mt\. )?{WORD}(?:(?: (?:of|and|&|the|for))? {WORD}){{0,4}}? {INSTITUTION})\b"
)
NOT_LEADING = frozenset(
    "The A An At In On To From Our Your His Her This That My Emergency Outpatient Inpatient Pain Dictated By Cc Attending General".split()
)
NOT_NAMED = frozenset(GENERIC[3:-1].split("|")) | NOT_LEADING


def find_addresses(text: str) -> Iterator[Span]:
    """Yield postal addresses: numbered streets, boxes, letterhead lines, and whatever follows "lives at"."""
    for pattern in (NUMBERED_STREET, BOX):
        yield from (Span(match.start(), match.end(), "ADDRESS") for match in pattern.finditer(text))
    for match in LED_IN.finditer(text):
        end = _address_end(text, match.start(1), match.end(1))
        yield Span(match.start(1), end, "ADDRESS")
    for match in LETTERHEAD.finditer(text):
        if re.search(r"\d{3,}", match.group(1)):
            yield Span(match.start(1), match.end(1), "ADDRESS")


def find_organizations(text: str) -> Iterator[Span]:
    """Yield named hospitals and clinics; "General Hospital" or "the Pain Clinic" names none."""
    for match in ORGANIZATION.finditer(text):
        start = match.start(1)
        words = match.group(1).split(" ")
        while words and words[0] in NOT_LEADING - {"General"}:
            start += len(words[0]) + 1
            words.pop(0)
        institution = re.search(INSTITUTION + "$", " ".join(words))
        if institution and set(" ".join(words)[: institution.start()].split()) - NOT_NAMED:
            yield Span(start, match.end(1), "ORGANIZATION")


def _address_end(text: str, start: int, end: int) -> int:
    """Go on over a full stop that ends an abbreviation ("ul. Dawida Jana 124, Wrocław") when a comma and number follow."""
    rest = text[end : end + 60]
    if TAIL_ABBREVIATION.search(text[start:end]) and "," not in text[start:end]:
        more = re.match(r"\.,? [^\n;.]{3,60}", rest)
        if more and re.search(r"\d", more.group()) and "," in more.group():
            return end + more.end()
    return end
