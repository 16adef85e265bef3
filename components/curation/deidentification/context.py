"""English identifiers that their neighbourhood gives away: labels, titles, relations, credentials, questions.

A name is two to four capitalised words, or one after a title. Numbers are taken after the label that says what they
are. Speaker labels of dialogues ("Doctor:", "Patient:") are no labels of names.
"""

import re
from collections.abc import Iterator

from components.curation.deidentification.names import EPONYM_NOUNS, GIVEN_NAMES, NOT_NAMES
from components.curation.deidentification.patterns import MONTH
from components.curation.deidentification.spans import Span

UPPER = "A-Z" + "".join(chr(code) for code in range(0xC0, 0x250) if chr(code).isupper())
LOWER = "a-z" + "".join(chr(code) for code in range(0xC0, 0x250) if chr(code).islower())
WORD = rf"[{UPPER}](?:[{LOWER}{UPPER}]|['’-](?=[{UPPER}{LOWER}]))+(?<!['’]s)"
INITIAL = rf"[{UPPER}]\.?(?![{LOWER}{UPPER}])"
PARTICLE = r"(?:van|von|de|da|di|del|della|la|le|bin|al|el|ter|den)"
NAME = rf"{WORD}(?: (?:{PARTICLE} )?(?:{INITIAL}|{WORD})){{0,3}}"
FULL_NAME = rf"{WORD}(?: {INITIAL}){{0,2}}(?: {PARTICLE})?(?: {WORD}){{1,2}}"
CREDENTIAL = r"(?:MD|M\.D\.|DO|D\.O\.|RN|R\.N\.|PA-C|PA|NP|PhD|Ph\.D\.|LPN|FRCP|MBBS|DDS|PharmD|CRNP|BSN)\b"
REVERSED = rf"{WORD}(?: {WORD})?, (?!{CREDENTIAL}|(?:DOB|MRN|SSN|NHS|ID)\b){WORD}(?: (?:{INITIAL}|{WORD}))?"

TITLE = r"\b(?:Dr|Mr|Mrs|Ms|Miss|Mx|Prof|Professor|Doctor|Nurse|Sister|DR|MR|MRS|MS)\b\.? "
LABEL = (
    r"(?:(?i:patient(?:'s)? name|full name|name|re|attn|attention|attending(?: physician)?|physician|provider|dictated by|signed by|referred by|"
    r"reported by|prepared by|reviewed by|emergency contact|next of kin|guardian|contact person|carer|caregiver|note for|report for|cc))"
)
RELATION = (
    r"(?i:wife|husband|spouse|partner|son|daughter|mother|father|mom|mum|dad|brother|sister|aunt|uncle|cousin|niece|nephew|friend|neighbou?r|"
    r"grandmother|grandfather|grandson|granddaughter|roommate|boyfriend|girlfriend|fianc[eé]e?|kin|guardian)"
)
BIRTH = rf"(?:DOB|(?i:born|date of birth)|\d{{1,4}}[/.-]\d|{MONTH} \d|\d{{1,2}} {MONTH})"

NAME_RULES = (
    re.compile(rf"{TITLE}({NAME})"),
    re.compile(rf"\b{LABEL}\s?[:;][ \t]*(?:{TITLE})?({REVERSED}|{NAME})"),
    re.compile(
        rf"\b(?i:dictated by|signed by|referred by|reviewed by|attention|note for|report for|seen by|named|my name is|name's|called) (?:{TITLE})?({REVERSED}|{FULL_NAME})"
    ),
    re.compile(rf"\b(?i:patient)\s?:[ \t]*({REVERSED}|{FULL_NAME})(?=,? (?:{BIRTH})|[ \t]*(?:\n|$|\|))"),
    re.compile(rf"\b{RELATION}(?:'s name is|,| is| named)? ({FULL_NAME})"),
    re.compile(rf"({FULL_NAME}|{REVERSED}),? {CREDENTIAL}"),
    re.compile(rf"(?:\b(?:Sure|Yes|Yeah|Okay|Ok|It's|I'm)[,.]? )({FULL_NAME})(?=[,.])"),
    re.compile(rf"({FULL_NAME}|{REVERSED})(?=,? {BIRTH})"),
    re.compile(rf"(?m)^({REVERSED}|{FULL_NAME})(?= ?\|)"),
    re.compile(rf"(?<![\w.] )\b((?!(?:Vitamin|Hepatitis|Type|Group|Factor|Protein|Class)\b){WORD} [{UPPER}]\. {WORD})"),
)
GIVEN_FIRST = re.compile(
    rf"(?<![\w-])({WORD})((?: {INITIAL})?(?: {PARTICLE})? {WORD})(?! (?:{'|'.join(EPONYM_NOUNS)})\b)"
)

CODE = r"[A-Za-z]{0,4}[-#]?\d[\dA-Za-z]*(?:[-/]\d[\dA-Za-z]*){0,4}"
LINK = r"(?i:,?\s?(?:number|no\.|no|num\.?|#|id))?\s*(?:was|is|:|#|=|,)*\s*"
NUMBER_RULES = {
    "ID": re.compile(
        rf"\b(?i:MRN|medical record|record|chart(?: open)?|SSN|social security|licen[cs]e|passport|admission|encounter|case|NHS|hospital|"
        rf"driver'?s? licen[cs]e|patient id|visit){LINK}((?=\S*\d{{4}}|\S*\d-\S*\d{{2}}){CODE})"
    ),
    "ACCOUNT": re.compile(
        rf"\b(?i:policy|insurance(?: member| policy| id)?|member(?:ship)?|account|acct|card|IBAN|credit card|medicare|medicaid|group){LINK}((?=\S*\d{{4}}){CODE}(?: \d{{4}})*)"
    ),
}
PHONE_LABEL = r"\b(?i:tel|telephone|phone|fax|cell|mobile|call(?: me)?(?: back)?|reached (?:at|on)|pager|contact number|a copy to|number to call you back on\?\s*patient)"
PHONE_RULE = re.compile(
    rf"{PHONE_LABEL}(?: ?(?:no\.?|number|is|at|on))*\s*[:.]?\s*(?:\w{{1,5}}[,.] )?(\+?\(?\d[\d ().-]{{5,18}}\d(?: ?(?:ext\.?|x) ?\d{{1,5}})?)(?!\w)"
)
AGE_RULES = (
    re.compile(r"\b(?i:your age\?|how old are you\?|how old is (?:he|she)\?)\s*(?i:patient|guest\w*)\s?:\s*(?:I am|I'm|He is|She is|He's|She's|Yes,?|Well,?|Um,?|Oh,?|\s)*((?:9\d|1[01]\d)(?: years? old)?)\b"),
    re.compile(r"\b(?i:aged?|age is|age of|I am|I'm)\s?:? ?((?:9\d|1[01]\d)(?: years? old| years)?)\b(?![%/.-]\d|\s?(?:mg|kg|lb|lbs|pounds|percent|cm|%|days|weeks|months|degrees))"),
)  # fmt: skip


def find_names(text: str) -> Iterator[Span]:
    """Yield names that stand in a context of names."""
    for rule in NAME_RULES:
        for match in rule.finditer(text):
            yield from _trimmed(match.start(1), match.group(1))
    for match in GIVEN_FIRST.finditer(text):
        if match.group(1).title() in GIVEN_NAMES and match.group(2).split()[-1] not in NOT_NAMES:
            yield Span(match.start(), match.end(), "NAME")


def find_labelled_numbers(text: str) -> Iterator[Span]:
    """Yield identity, account and telephone numbers after their label, and ages above 89 after a question or label."""
    for kind, rule in NUMBER_RULES.items():
        yield from (Span(match.start(1), match.end(1), kind) for match in rule.finditer(text))
    for match in PHONE_RULE.finditer(text):
        if 7 <= sum(character.isdigit() for character in match.group(1)) <= 16:
            yield Span(match.start(1), match.end(1), "PHONE")
    for rule in AGE_RULES:
        yield from (Span(match.start(1), match.end(1), "AGE_OVER_89") for match in rule.finditer(text))


def find_mentions(text: str, names: list[str]) -> Iterator[Span]:
    """Yield every further mention of the parts of names already found, so that a surname alone is caught too."""
    parts = {part.strip(",.") for name in names for part in name.split()}
    wanted = sorted(part for part in parts if len(part) > 2 and part.title() not in NOT_NAMES and part[0].isupper())
    if wanted:
        forms = "|".join(re.escape(form) for part in wanted for form in sorted({part, part.title(), part.upper()}))
        tail = rf"(?! (?:{'|'.join(EPONYM_NOUNS)})\b)"
        yield from (
            Span(match.start(), match.end(), "NAME") for match in re.finditer(rf"(?<!\w)(?:{forms})(?!\w){tail}", text)
        )


def _trimmed(start: int, name: str) -> Iterator[Span]:
    """Cut words that begin sentences off a found name; yield nothing if no more than initials are left."""
    words = name.split(" ")
    while words and words[0].strip(",.").title() in NOT_NAMES:
        start += len(words[0]) + 1
        words.pop(0)
    while words and words[-1].strip(",.").title() in NOT_NAMES:
        words.pop()
    kept = " ".join(words).rstrip(",")
    if len(kept) > 2:
        yield Span(start, start + len(kept), "NAME")
