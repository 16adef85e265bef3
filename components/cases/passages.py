"""Passages of the curated documents with the facts each one states, for questions that are answered from passages."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.documents import Document

MAXIMUM_WORDS = 45
MINIMUM_WORDS = 6
# Patient text never becomes a passage.
PASSAGE_TYPES = frozenset({"textbook", "guideline", "drug_insert", "encyclopedia", "abstract", "pathway", "web"})
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class FactPassage:
    """A sentence of a document about one disease: the true facts of a kind it states, and other phrases of that kind."""

    document_id: str
    text: str
    authority: str
    disease: str
    kind: str
    facts: tuple[str, ...]
    others: tuple[str, ...]
    source_ids: tuple[str, ...] = ()


def find_passages(
    documents: Iterable[Document],
    *,
    names: Mapping[str, str],
    facts: Mapping[tuple[str, str], tuple[str, ...]],
    pools: Mapping[str, tuple[str, ...]],
) -> Iterator[FactPassage]:
    """Yield the sentences that name a disease and state facts of one kind about it.

    Args:
        names: disease id → name; only diseases among the document's entities are looked for.
        facts: (disease id, kind) → true facts.
        pools: kind → all phrases of that kind.
    """
    finders = {kind: phrase_finder(phrases) for kind, phrases in pools.items()}
    for document in documents:
        if document.type not in PASSAGE_TYPES or document.language != "en":
            continue
        diseases = [entity for entity in document.entities if entity in names]
        for sentence in _SENTENCE_END.split(" ".join(document.text.split())):
            if not MINIMUM_WORDS <= len(sentence.split()) <= MAXIMUM_WORDS:
                continue
            named = [disease for disease in diseases if names[disease].casefold() in sentence.casefold()]
            if len(named) == 1:
                yield from _passages(document, sentence, named[0], facts, finders)


def _passages(
    document: Document,
    sentence: str,
    disease: str,
    facts: Mapping[tuple[str, str], tuple[str, ...]],
    finders: Mapping[str, re.Pattern[str]],
) -> Iterator[FactPassage]:
    for kind, finder in finders.items():
        found = tuple(dict.fromkeys(match.casefold() for match in finder.findall(sentence)))
        if not found:
            continue
        own = {fact.casefold(): fact for fact in facts[disease, kind]}
        yield FactPassage(
            document_id=document.id,
            text=sentence,
            authority=document.authority or "E",
            disease=disease,
            kind=kind,
            facts=tuple(own[phrase] for phrase in found if phrase in own),
            others=tuple(phrase for phrase in found if phrase not in own),
            source_ids=document.source_ids or (document.id,),
        )


def phrase_finder(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds the longest of the phrases, as whole words, whatever the case."""
    ordered = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)", re.IGNORECASE)
