"""Documents to chunks: whole sentences up to a number of words, the last sentences repeated in the next chunk.

Departure: a sentence longer than a chunk is cut at the word limit.
"""

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from components.documents import Document

SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")


class Chunk(BaseModel):
    """A piece of a graded document, the unit of retrieval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    document_id: str
    title: str
    text: str
    authority: str
    year: int | None
    entities: tuple[str, ...]


def chunk_documents(documents: Iterable[Document], *, words: int, overlap_words: int) -> list[Chunk]:
    """Cut documents into chunks of at most `words` words; ids are `<document id>#<number>`."""
    chunks = []
    for document in documents:
        for number, text in enumerate(chunk_text(document.text, words=words, overlap_words=overlap_words)):
            chunks.append(
                Chunk(
                    id=f"{document.id}#{number}",
                    document_id=document.id,
                    title=document.title,
                    text=text,
                    authority=document.authority or "E",
                    year=document.year,
                    entities=document.entities,
                )
            )
    return chunks


def chunk_text(text: str, *, words: int, overlap_words: int) -> list[str]:
    """Cut a text at sentence ends into pieces of at most `words` words, sharing up to `overlap_words` words."""
    pieces: list[str] = []
    current: list[str] = []
    for sentence in sentences(text, words=words):
        if current and _count(current) + len(sentence.split()) > words:
            pieces.append(" ".join(current))
            current = _tail(current, overlap_words)
            if _count(current) + len(sentence.split()) > words:
                current = []
        current.append(sentence)
    if current:
        pieces.append(" ".join(current))
    return pieces


def sentences(text: str, *, words: int) -> list[str]:
    """Split a text into sentences, those of more than `words` words cut into pieces of that length."""
    found = []
    for sentence in SENTENCE_END.split(text):
        parts = sentence.split()
        found.extend(" ".join(parts[start : start + words]) for start in range(0, len(parts), words))
    return found


def _count(parts: list[str]) -> int:
    return sum(len(part.split()) for part in parts)


def _tail(parts: list[str], words: int) -> list[str]:
    tail: list[str] = []
    for part in reversed(parts):
        if _count(tail) + len(part.split()) > words:
            break
        tail.insert(0, part)
    return tail
