"""Cited prompts: passages numbered and graded before the question, `[1] (A) text`, and citations read back."""

import re
from collections.abc import Sequence
from typing import Protocol

from components.conversations import Message
from components.retrieval.chunking import sentences

CITATION = re.compile(r"\[(\d{1,3})\]")
WORD = re.compile(r"[^\W_]+")


class GradedText(Protocol):
    """A passage: of a case, or retrieved."""

    @property
    def text(self) -> str: ...

    @property
    def authority(self) -> str: ...


def grounded_messages(question: str, passages: Sequence[GradedText]) -> tuple[Message, ...]:
    """Return the user turn that shows numbered, graded passages and then the question."""
    lines = [f"[{number}] ({passage.authority}) {passage.text}" for number, passage in enumerate(passages, start=1)]
    return (Message(role="user", content="\n".join([*lines, question])),)


def cited_numbers(text: str) -> list[int]:
    """Return the citation numbers in a text, each once, in order."""
    return list(dict.fromkeys(int(number) for number in CITATION.findall(text)))


def relevant_extract(text: str, query: str, *, words: int) -> str:
    """Return the sentences of a text that share most words with the query, in their order, up to `words` words."""
    wanted = {word.lower() for word in WORD.findall(query) if len(word) > 3}
    parts = sentences(text, words=words)
    overlaps = [len(wanted & {word.lower() for word in WORD.findall(part)}) for part in parts]
    chosen: list[int] = []
    used = 0
    for index in sorted(range(len(parts)), key=lambda index: (-overlaps[index], index)):
        length = len(parts[index].split())
        if used + length > words:
            continue
        chosen.append(index)
        used += length
    return " ".join(parts[index] for index in sorted(chosen))
