"""Keeping held-out questions out of what is trained on: by combination, by normalised text, by word 8-grams.

The wording of templates is shared by design, so an 8-gram counts only where it is specific: found in the questions of
fewer than `COMMON_COMBINATIONS` combinations. Passages shown in a question are corpus text by design and are left out.
"""

import re
from collections.abc import Iterable, Iterator

from components.cases.case import Case
from components.errors import DataError

GRAM_WORDS = 8
COMMON_COMBINATIONS = 4
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.casefold())


def grams_of(text: str) -> Iterator[str]:
    """Yield the word 8-grams of a text."""
    yield from _grams(words_of(text))


def _grams(words: list[str]) -> Iterator[str]:
    for start in range(len(words) - GRAM_WORDS + 1):
        yield " ".join(words[start : start + GRAM_WORDS])


def question_of(case: Case) -> str:
    """Return a case's question without the passages it shows."""
    text = case.prompt
    for passage in case.passages:
        text = text.replace(passage.text, "")
    return text


def corpus_grams(texts: Iterable[str]) -> set[str]:
    """Return every 8-gram of the corpus."""
    return {gram for text in texts for gram in grams_of(text)}


def is_in_corpus(case: Case, grams: set[str]) -> bool:
    """Say whether a question, or any 8 words of it, stands in the corpus."""
    return not grams.isdisjoint(grams_of(question_of(case)))


def common_grams(cases: Iterable[Case]) -> set[str]:
    """Return the 8-grams that many combinations' questions share: the wording of templates."""
    combinations: dict[str, set[str]] = {}
    for case in cases:
        for gram in grams_of(question_of(case)):
            found = combinations.setdefault(gram, set())
            if len(found) < COMMON_COMBINATIONS:
                found.add(case.combination)
    return {gram for gram, found in combinations.items() if len(found) >= COMMON_COMBINATIONS}


class HeldOut:
    """What validation and test hold, to refuse training cases that touch it."""

    def __init__(self, held_out: Iterable[Case], *, common: set[str]) -> None:
        cases = list(held_out)
        self.combinations = {case.combination for case in cases}
        self.texts = {" ".join(words_of(question_of(case))) for case in cases}
        self.grams = {gram for case in cases for gram in grams_of(question_of(case))} - common

    def overlap(self, case: Case) -> str | None:
        """Return how a training case touches the held-out ones: `combination`, `text`, `8-gram`, or None."""
        if case.combination in self.combinations:
            return "combination"
        words = words_of(question_of(case))
        if " ".join(words) in self.texts:
            return "text"
        return None if self.grams.isdisjoint(_grams(words)) else "8-gram"


def check_no_leak(train: Iterable[Case], held_out: Iterable[Case], *, corpus: set[str], reference: HeldOut) -> None:
    """Refuse a split that leaks.

    Args:
        corpus: 8-grams of the corpus.
        reference: what the held-out cases hold.
    Raises:
        DataError: a held-out question stands in the corpus, or shares combination, text or specific 8-gram with training.
    """
    for case in held_out:
        if is_in_corpus(case, corpus):
            raise DataError(f"case {case.id}: its question stands in the corpus; remove the document or run `holdout` again")
    for case in train:
        if reason := reference.overlap(case):
            raise DataError(f"case {case.id}: a training question shares its {reason} with a held-out one; run `holdout` again")
