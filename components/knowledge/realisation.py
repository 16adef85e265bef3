"""Triples → sentences by templates, each kept only if reading it back gives the triple again (report, §2.2; `triples ↔ text`).

A sentence that could be read as another fact of the graph is ambiguous and dropped; the count is reported.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from components.knowledge_base.triples import Triple
from components.lineage import stable_fraction

ADVICE_WORDS = {"allowed": "allowed", "caution": "used with caution", "avoid": "avoided"}
POPULATIONS = {
    "child": "children",
    "pregnancy": "pregnancy",
    "elderly": "elderly patients",
    "renal": "renal impairment",
}

# {s} and {o} are the names of subject and object; {S} and {O} the same at the beginning of a sentence.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "has_symptom": ("{O} is a symptom of {s}.", "One symptom of {s} is {o}.", "{S} can cause {o}.", "A patient with {s} may feel {o}.", "{S} has the symptom {o}."),
    "has_finding": ("{O} is a finding in {s}.", "A sign of {s} is {o}.", "{S} has the finding {o}.", "In {s} the doctor may find {o}."),
    "treated_with": ("{O} is a first-line drug for {s}.", "{S} can be treated with {o}.", "A doctor may give {o} for {s}.", "{S} responds to {o}."),
    "investigated_by": ("{O} is a useful test in {s}.", "{S} is checked with {o}.", "To confirm {s}, request {o}.", "{O} helps to diagnose {s}."),
    "complicated_by": ("{O} is a complication of {s}.", "{S} may be complicated by {o}.", "A danger of {s} is {o}."),
    "risk_raised_by": ("{O} is a risk factor for {s}.", "{S} is more frequent with {o}.", "The risk of {s} rises with {o}."),
    "coded_as": ("The code for {s} is {o}.", "{O} is the code of {s}.", '{S} is written "{o}".', "The diagnosis {s} carries the code {o}."),
    "managed_by": ("The department for {s} is {o}.", "{S} is cared for in {o}.", "{S} is a matter of {o}."),
    "belongs_to_class": ("{S} is one of the drugs called {o}.", "The class of {s} is {o}."),
    "indicated_for": ("{S} is indicated for {o}.", "{O} is an indication of {s}.", "{S} helps in {o}."),
    "contraindicated_in": ("{S} is contraindicated in case of {o}.", "{O} is a contraindication of {s}.", "{S} must not be given in case of {o}."),
    "advice_in_child": ("For children, {s} should be {o}.", "{S} should be {o} for children."),
    "advice_in_pregnancy": ("For pregnancy, {s} should be {o}.", "{S} should be {o} for pregnancy."),
    "advice_in_elderly": ("For elderly patients, {s} should be {o}.", "{S} should be {o} for elderly patients."),
    "advice_in_renal": ("For renal impairment, {s} should be {o}.", "{S} should be {o} for renal impairment."),
    "interacts_with": ("{S} and {o} interact.", "There is an interaction between {s} and {o}."),
    "adult_dose": ("The adult dose of {s} is {o}.", "{S} is dosed at {o} in adults."),
    "shows": ("{O} is seen with {s}.", "{S} may show {o}.", "{S} is a test for {o}."),
}  # fmt: skip


class Sentence(NamedTuple):
    """A realised triple."""

    text: str
    triple: Triple
    template: str


class Names:
    """How ids are written, and which id a written name means."""

    def __init__(self, names: Mapping[str, str], facts: Sequence[Triple]) -> None:
        self._names = dict(names)
        self._facts = {
            (fact.predicate, self.of(fact.subject).casefold(), self.object_words(fact).casefold()): fact
            for fact in facts
        }

    def of(self, identifier: str) -> str:
        """Return the written name of an id; a phrase or an unknown id stands for itself, without underscores."""
        return self._names.get(identifier, identifier.replace("_", " "))

    def object_words(self, fact: Triple) -> str:
        """Return how a triple's object is written."""
        if fact.object_type == "advice":
            return ADVICE_WORDS.get(fact.object, fact.object)
        return self.of(fact.object) if fact.object_type in ("disease", "drug", "test") else fact.object

    def fact(self, predicate: str, subject: str, value: str) -> Triple | None:
        """Return the triple of the graph that these words state, if there is one."""
        return self._facts.get((predicate, subject.casefold(), value.casefold()))


def realise(facts: Sequence[Triple], names: Names, *, per_triple: int, seed: int) -> Iterator[Sentence | Triple]:
    """Yield up to `per_triple` sentences of every triple; an ambiguous sentence yields its triple instead, to be counted."""
    for fact in facts:
        templates = TEMPLATES.get(fact.predicate, ())
        order = sorted(
            range(len(templates)),
            key=lambda number: stable_fraction(str(seed), fact.subject, fact.predicate, fact.object, str(number)),
        )
        for number in order[:per_triple]:
            text = write(templates[number], names.of(fact.subject), names.object_words(fact))
            if extract(text, names) == {fact}:
                yield Sentence(text, fact, f"{fact.predicate}:{number}")
            else:
                yield fact


def write(template: str, subject: str, value: str) -> str:
    """Fill a template."""
    return template.format(s=subject, o=value, S=subject[:1].upper() + subject[1:], O=value[:1].upper() + value[1:])


def extract(text: str, names: Names) -> set[Triple]:
    """Return every triple of the graph that a sentence states in one of the templates."""
    found = set()
    for predicate, form in _FORMS:
        if match := form.fullmatch(text):
            fact = names.fact(predicate, match["s"], match["o"])
            if fact is not None:
                found.add(fact)
    return found


def _forms(templates: Mapping[str, Iterable[str]]) -> list[tuple[str, re.Pattern[str]]]:
    forms = []
    for predicate, texts in templates.items():
        for text in texts:
            pattern = re.escape(text)
            for mark in "so":
                pattern = re.sub(rf"\\{{({mark}|{mark.upper()})\\}}", rf"(?P<{mark}>.+?)", pattern)
            forms.append((predicate, re.compile(pattern)))
    return forms


_FORMS = _forms(TEMPLATES)
