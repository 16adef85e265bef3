"""Statements that a better-graded document denies.

Read from sentences: the ICD-10 code of a disease (one value only), that a drug treats a disease or must not, that a drug
is contraindicated in a condition or safe in it. A document is contradicted where better-graded documents only say the
opposite. Statements in other words are not read: what this finds is a floor.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from components.documents import Document

CODE = r"(?P<value>[A-Z]\d{2}(?:\.\d{1,2})?)"
CODE_FORMS = (
    re.compile(rf"The ICD-10 code of (?P<subject>[^.]+?) is {CODE}"),
    re.compile(rf"(?P<subject>[^.:]+?) is coded as {CODE}"),
    re.compile(rf"In ICD-10, {CODE} stands for (?P<subject>[^.]+)"),
    re.compile(rf'(?P<subject>[^.:]+?) has icd10 "{CODE}"'),
)
TREATS_FORMS = (
    re.compile(r"(?P<object>[^.:]+?) is first treated with (?P<subjects>[^.]+)"),
    re.compile(r"First-line drugs for (?P<object>[^.]+?) are (?P<subjects>[^.]+)"),
    re.compile(r"Treatment of (?P<object>[^.]+?) starts with (?P<subjects>[^.]+)"),
    re.compile(r"For (?P<object>[^.,]+), give (?P<subjects>[^.]+?) first"),
    re.compile(r"The drugs of first choice in (?P<object>[^.]+?) are (?P<subjects>[^.]+)"),
)
NOT_TREATS = re.compile(r"(?P<subject>[^.:]+?) (?:must|should) not be used (?:for|in) (?P<object>[^.]+)")
CONTRAINDICATED_FORMS = (
    re.compile(r"(?P<subject>[^.:]+?) is contraindicated in (?P<objects>[^.]+)"),
    re.compile(r"Do not give (?P<subject>[^.]+?) in (?P<objects>[^.]+)"),
    re.compile(r"Contraindications of (?P<subject>[^.]+?) are (?P<objects>[^.]+)"),
    re.compile(r"With (?P<objects>[^.]+?), (?P<subject>[^.,]+?) must be avoided"),
)
SAFE = re.compile(r"(?P<subject>[^.:]+?) is safe in (?P<object>[^.]+)")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"])|\n")
LIST = re.compile(r", | and | or ")


class Claim(NamedTuple):
    """A statement: relation between subject and object, affirmed or denied; for a code the object is the value."""

    relation: str
    subject: str
    object: str
    is_affirmed: bool


class Contradiction(NamedTuple):
    """A claim of a document that a better one denies."""

    id: str
    relation: str
    claim: str
    denied_by: str


def read_claims(text: str) -> Iterator[Claim]:
    """Yield the statements of a text that one of the forms can read."""
    for sentence in SENTENCE.split(text):
        sentence = re.sub(
            r"^(?:\d+\. \w+(?: \w+)?\. |Step \d, \w+: |Conclusion: |Results: )", "", sentence.strip()
        ).rstrip(".")
        yield from _claims_of(sentence)


def find_contradictions(documents: Sequence[Document]) -> list[Contradiction]:
    """Return each document's claims that better-graded documents deny and none of them supports."""
    claims = {document.id: list(read_claims(document.text)) for document in documents}
    stated: dict[Claim, tuple[str, str]] = {}
    codes: dict[str, list[Claim]] = {}
    for document in sorted(documents, key=lambda item: (item.authority or "E", item.id)):
        for claim in claims[document.id]:
            stated.setdefault(claim, (document.authority or "E", document.id))
            if claim.relation == "code":
                codes.setdefault(claim.subject, []).append(claim)
    found = []
    for document in documents:
        for claim in dict.fromkeys(claims[document.id]):
            own_grade = stated[claim][0]
            denials = [stated[other] for other in _opposites(claim, codes) if other in stated]
            better = [origin for origin in denials if origin[0] < own_grade]
            if better:
                words = f"{claim.subject} {'' if claim.is_affirmed else 'not '}{claim.relation} {claim.object}"
                found.append(Contradiction(document.id, claim.relation, words, min(better)[1]))
    return found


def _opposites(claim: Claim, codes: dict[str, list[Claim]]) -> list[Claim]:
    if claim.relation == "code":
        return sorted({other for other in codes.get(claim.subject, ()) if other.object != claim.object})
    return [claim._replace(is_affirmed=not claim.is_affirmed)]


def _claims_of(sentence: str) -> Iterator[Claim]:
    for form in CODE_FORMS:
        if match := form.fullmatch(sentence):
            yield Claim("code", _name(match["subject"]), match["value"], True)
    for form in TREATS_FORMS:
        if match := form.fullmatch(sentence):
            yield from (
                Claim("treats", _name(drug), _name(match["object"]), True) for drug in LIST.split(match["subjects"])
            )
    if match := NOT_TREATS.fullmatch(sentence):
        yield Claim("treats", _name(match["subject"]), _name(match["object"]), False)
    for form in CONTRAINDICATED_FORMS:
        if match := form.fullmatch(sentence):
            yield from (
                Claim("contraindicated", _name(match["subject"]), _name(item), True)
                for item in LIST.split(match["objects"])
            )
    if match := SAFE.fullmatch(sentence):
        yield Claim("contraindicated", _name(match["subject"]), _name(match["object"]), False)


def _name(text: str) -> str:
    return text.strip().casefold()
