"""Which knowledge points the curated documents cover: the words of the point stand together in one sentence or document.

Documents graded E do not count. A covered point is one a reader could learn from the library; whether a model has
learnt it is what the probes ask.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from components.documents import Document
from components.knowledge.points import KnowledgePoint

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"])|\n")
NOT_WORD = re.compile(r"[^\w%-]+")


class Library:
    """The curated sentences and documents by the subject they mention, each with its document's id."""

    def __init__(self, documents: Iterable[Document], subjects: Iterable[str]) -> None:
        self._subjects = sorted({padded(subject) for subject in subjects})
        self._sentences: dict[str, list[tuple[str, str]]] = {subject: [] for subject in self._subjects}
        self._documents: dict[str, list[tuple[str, str]]] = {subject: [] for subject in self._subjects}
        for document in documents:
            if document.authority != "E":
                self.add(document.text, identifier=document.id)

    def add(self, text: str, *, identifier: str = "") -> None:
        """Take in the text of the document with this id."""
        whole = padded(text)
        present = [subject for subject in self._subjects if subject in whole]
        for subject in present:
            self._documents[subject].append((identifier, whole))
        for sentence in SENTENCE.split(text):
            words = padded(sentence)
            for subject in present:
                if subject in words:
                    self._sentences[subject].append((identifier, words))

    def covers(self, point: KnowledgePoint) -> bool:
        """Return whether some sentence (or document) about the point's subject holds enough of its terms."""
        return next(self._covering(point), None) is not None

    def covering(self, point: KnowledgePoint) -> list[str]:
        """Return the ids of all documents that cover the point, each once, in the order they were taken in."""
        return list(dict.fromkeys(self._covering(point)))

    def _covering(self, point: KnowledgePoint) -> Iterator[str]:
        texts = (self._sentences if point.scope == "sentence" else self._documents)[padded(point.subject)]
        terms = [[padded(form) for form in term.split("|")] for term in point.terms]
        return (identifier for identifier, text in texts if sum(any(form in text for form in forms) for forms in terms) >= point.minimum)


def padded(text: str) -> str:
    """Return the words in lower case with one space around each, so that `in` compares whole words."""
    return f" {NOT_WORD.sub(' ', text.casefold()).strip()} "


def summarise(points: Sequence[KnowledgePoint], covered: Sequence[bool]) -> dict[str, dict[str, float]]:
    """Return, for every kind and for "all", points, covered points and their share."""
    rows: dict[str, list[bool]] = {"all": list(covered)}
    for point, is_covered in zip(points, covered, strict=True):
        rows.setdefault(point.kind, []).append(is_covered)
    return {
        kind: {"points": len(values), "covered": sum(values), "share": round(sum(values) / max(len(values), 1), 4)}
        for kind, values in sorted(rows.items())
    }
