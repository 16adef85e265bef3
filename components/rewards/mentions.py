"""Mentions of the knowledge base's diseases, drugs, tests and findings in free text.

Longest match over the names and keywords, word-bounded and without regard to case. A phrase may mean several things
("asthma" is a disease and a risk factor); every meaning is kept. A mention is negated when its clause advises against
or denies it ("avoid ibuprofen", "doxycycline should not be given").

Not covered: misspellings, inflected forms that the knowledge base does not list, negation across sentences.
"""

import re
from dataclasses import dataclass
from typing import Literal

from components.knowledge_base.schema import KnowledgeBase

Kind = Literal["disease", "drug", "test", "symptom", "complication", "risk_factor", "contraindication"]

WORD = re.compile(r"[^\W_]+")
CLAUSE_END = re.compile(r"[.;!?\n]|,? but |,? however,? |, (?:so |while |and )?(?=(?:avoid|do not|never|not|use|give|take|start)\b)")
CUES_BEFORE = frozenset({"avoid", "avoiding", "not", "never", "no", "without", "stop", "cannot", "unsafe", "contraindicated"})
CUES_AFTER = frozenset({"not", "never", "avoided", "contraindicated", "unsafe", "unsuitable", "cannot"})
COPULAS = frozenset({"is", "are", "was", "should", "must", "can", "cannot", "may", "be", "does", "do"})
AFTER_WINDOW = 8


@dataclass(frozen=True)
class Mention:
    """A phrase of the knowledge base found in a text; `meanings` are (kind, id or lower-case phrase) pairs."""

    start: int
    end: int
    phrase: str
    meanings: tuple[tuple[Kind, str], ...]
    is_negated: bool

    def keys(self, kind: Kind) -> tuple[str, ...]:
        """Return the ids or phrases this mention can mean as the given kind."""
        return tuple(key for meaning, key in self.meanings if meaning == kind)


class MentionFinder:
    """Finds mentions; built once for a knowledge base, then a dictionary look-up a word."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._meanings: dict[tuple[str, ...], list[tuple[Kind, str]]] = {}
        self._longest: dict[str, int] = {}
        for disease in kb.diseases.values():
            self._add(disease.name, "disease", disease.id)
            for phrase in (*disease.symptoms, *disease.findings):
                self._add(phrase, "symptom", phrase.lower())
            for phrase in disease.complications:
                self._add(phrase, "complication", phrase.lower())
            for phrase in disease.risk_factors:
                self._add(phrase, "risk_factor", phrase.lower())
        for drug in kb.drugs.values():
            self._add(drug.name, "drug", drug.id)
            for phrase in drug.contraindications:
                self._add(phrase, "contraindication", phrase.lower())
        for test in kb.tests.values():
            for phrase in dict.fromkeys((test.name, *test.keywords)):
                self._add(phrase, "test", test.id)

    def find(self, text: str) -> list[Mention]:
        """Return the mentions in order of position, without overlaps."""
        mentions = []
        for clause_start, clause_end in _clauses(text):
            words = list(WORD.finditer(text, clause_start, clause_end))
            lowered = [word.group().lower() for word in words]
            spans = self._spans(lowered)
            # Words inside a phrase ("cough not improving with antibiotics") negate nothing around it.
            outside = list(lowered)
            for first, last in spans:
                outside[first:last] = [""] * (last - first)
            for first, last in spans:
                start, end = words[first].start(), words[last - 1].end()
                meanings = tuple(self._meanings[tuple(lowered[first:last])])
                mentions.append(Mention(start, end, text[start:end], meanings, _is_negated(outside, first, last)))
        return mentions

    def _spans(self, words: list[str]) -> list[tuple[int, int]]:
        spans, position = [], 0
        while position < len(words):
            length = self._match(words, position)
            if length:
                spans.append((position, position + length))
            position += max(length, 1)
        return spans

    def _add(self, phrase: str, kind: Kind, key: str) -> None:
        words = tuple(word.lower() for word in WORD.findall(phrase))
        if not words:
            return
        meanings = self._meanings.setdefault(words, [])
        if (kind, key) not in meanings:
            meanings.append((kind, key))
        self._longest[words[0]] = max(len(words), self._longest.get(words[0], 0))

    def _match(self, words: list[str], position: int) -> int:
        for length in range(min(self._longest.get(words[position], 0), len(words) - position), 0, -1):
            if tuple(words[position : position + length]) in self._meanings:
                return length
        return 0


def _clauses(text: str) -> list[tuple[int, int]]:
    bounds, start = [], 0
    for match in CLAUSE_END.finditer(text):
        bounds.append((start, match.start()))
        start = match.end()
    bounds.append((start, len(text)))
    return bounds


def _is_negated(words: list[str], start: int, end: int) -> bool:
    if any(word in CUES_BEFORE for word in words[:start]):
        return True
    after = words[end : end + AFTER_WINDOW]
    return any(word in CUES_AFTER and not COPULAS.isdisjoint(after[: index + 1]) for index, word in enumerate(after))
