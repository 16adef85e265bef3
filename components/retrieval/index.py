"""The retrieval index: BM25 and dense search over graded passages, fused; plain files without pickle.

A folder holds `chunks.jsonl`, `embeddings.npy` (float16, rows of length 1), `bm25/` (arrays and JSON of bm25s) and
`index.json` (the settings of fusion). Search keeps the best chunk of each document.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.documents import Document, read_models, write_jsonl
from components.errors import DataError
from components.retrieval.chunking import Chunk, chunk_documents
from components.retrieval.embedding import Embedder, load_embedder
from components.retrieval.fusion import fuse_rankings, passage_weights, top_ranking
from components.settings.data import IndexSettings
from components.storage.files import atomic_folder, read_json, write_json

WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class RetrievedPassage:
    """A passage found for a query; `score` is the fused and weighted score, comparable within one query only."""

    document_id: str
    text: str
    authority: str
    score: float
    year: int | None
    entities: tuple[str, ...] = ()


class RetrievalIndex:
    """Search over chunks; the embedding model is loaded at the first search."""

    def __init__(self, chunks: Sequence[Chunk], embeddings: NDArray[np.floating], bm25: Any, settings: IndexSettings, *, embedder: Embedder | None = None) -> None:
        self.chunks = tuple(chunks)
        self.settings = settings
        self._embeddings = embeddings.astype(np.float32)
        self._bm25 = bm25
        self._given_embedder = embedder
        self._weights = passage_weights(
            [chunk.authority for chunk in chunks],
            [chunk.year for chunk in chunks],
            authority_weights=settings.authority_weights,
            half_life_years=settings.half_life_years,
        )

    @classmethod
    def build(
        cls, documents: Sequence[Document], settings: IndexSettings, *, embedder: Embedder, progress: Callable[[int, int], None] | None = None
    ) -> "RetrievalIndex":
        """Chunk, embed and index documents.

        Raises:
            DataError: there is no text to index.
        """
        import bm25s

        chunks = chunk_documents(documents, words=settings.chunk_words, overlap_words=settings.chunk_overlap_words)
        if not chunks:
            raise DataError("no document has any text, so there is nothing to retrieve from; look at the rejections of curate")
        embeddings = embedder.embed([_embedded_text(chunk) for chunk in chunks], progress=progress).astype(np.float16)
        bm25 = bm25s.BM25()
        bm25.index(_numbered_words([words_of(f"{chunk.title} {chunk.text}") for chunk in chunks]), show_progress=False)
        return cls(chunks, embeddings, bm25, settings, embedder=embedder)

    @classmethod
    def load(cls, folder: Path) -> "RetrievalIndex":
        """Read an index folder.

        Raises:
            StorageError, DataError: a file of it is missing or malformed.
        """
        import bm25s

        settings = IndexSettings.model_validate(read_json(folder / "index.json"))
        chunks = read_models(folder / "chunks.jsonl", Chunk)
        embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
        if len(chunks) != len(embeddings):
            raise DataError(f"{folder}: {len(chunks)} chunks but {len(embeddings)} embeddings; delete the folder and run `make retrain`")
        return cls(chunks, embeddings, bm25s.BM25.load(folder / "bm25", show_progress=False), settings)

    def save(self, folder: Path) -> None:
        """Write the index's folder atomically."""
        with atomic_folder(folder) as temporary:
            write_json(temporary / "index.json", self.settings.model_dump())
            write_jsonl(temporary / "chunks.jsonl", self.chunks)
            np.save(temporary / "embeddings.npy", self._embeddings.astype(np.float16), allow_pickle=False)
            self._bm25.save(temporary / "bm25", show_progress=False)

    def search(self, query: str, *, count: int) -> list[RetrievedPassage]:
        """Return the `count` best passages, at most one a document, best first."""
        return self.search_many([query], count=count)[0]

    def search_many(self, queries: Sequence[str], *, count: int) -> list[list[RetrievedPassage]]:
        """Search for several queries, embedded together."""
        if not queries:
            return []
        similarity_QC = self._embedder.embed(queries) @ self._embeddings.T
        return [self._search(query, similarity_QC[row], count) for row, query in enumerate(queries)]

    @cached_property
    def _embedder(self) -> Embedder:
        return self._given_embedder or load_embedder()

    def _search(self, query: str, similarity_C: NDArray[np.float32], count: int) -> list[RetrievedPassage]:
        candidates = self.settings.candidates
        rankings = [top_ranking(self._bm25_scores(query), count=candidates), top_ranking(similarity_C, count=candidates)]
        fused = fuse_rankings(rankings, k=self.settings.fusion_k)
        scored = sorted(((-score * float(self._weights[row]), row) for row, score in fused.items()))
        passages: dict[str, RetrievedPassage] = {}
        for negative, row in scored:
            chunk = self.chunks[row]
            if chunk.document_id not in passages:
                passages[chunk.document_id] = RetrievedPassage(
                    chunk.document_id, chunk.text, chunk.authority, -negative, chunk.year, chunk.entities
                )
            if len(passages) == count:
                break
        return list(passages.values())

    def _bm25_scores(self, query: str) -> NDArray[np.float32]:
        words = [word for word in words_of(query) if word in self._bm25.vocab_dict]
        if not words:
            return np.zeros(len(self.chunks), dtype=np.float32)
        return np.asarray(self._bm25.get_scores(words))


def words_of(text: str) -> list[str]:
    """Return a text's words for BM25: lower case, a plural s of longer words dropped, Chinese characters one by one."""
    words = []
    for word in WORD.findall(text.lower()):
        if any("一" <= character <= "鿿" for character in word):
            words.extend(word)
        else:
            words.append(word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word)
    return words


def _numbered_words(texts: Sequence[Sequence[str]]) -> tuple[list[list[int]], dict[str, int]]:
    """Return each text's word numbers and the vocabulary, sorted: bm25s numbers words in the order of a set, which
    differs between processes."""
    vocabulary = {word: number for number, word in enumerate(sorted({word for text in texts for word in text}))}
    return [[vocabulary[word] for word in text] for text in texts], vocabulary


def _embedded_text(chunk: Chunk) -> str:
    return f"{chunk.title}. {chunk.text}" if chunk.title else chunk.text
