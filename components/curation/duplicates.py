"""Exact and near duplicates: which documents repeat a better one.

Exact: equal words. Near: MinHash-LSH over 5-grams of words (of characters in Chinese), 14 bands × 8 rows, every
candidate pair checked by its true Jaccard similarity. Of a pair the better grade stays, then the newer, then the
smaller id; so the result does not depend on the order of documents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from components.curation.normalisation import shingle_words
from components.documents import Document
from components.lineage import digest_value

SHINGLE_WORDS = 5
MINHASH_SEED = 1  # a constant of the method: its permutations are part of no result


class Repeat(NamedTuple):
    """A document that repeats another."""

    id: str
    of: str
    similarity: float


def preference(document: Document) -> tuple[str, int, str]:
    """The order in which documents are kept: smallest first."""
    return (document.authority or "E", -(document.year or 0), document.id)


def exact_repeats(documents: Sequence[Document]) -> list[Repeat]:
    """Return every document whose words equal those of a preferred one."""
    kept: dict[str, str] = {}
    repeats = []
    for document in sorted(documents, key=preference):
        first = kept.setdefault(digest_value(shingle_words(document.text)), document.id)
        if first != document.id:
            repeats.append(Repeat(document.id, first, 1.0))
    return repeats


def near_repeats(documents: Sequence[Document], *, similarity: float, bands: int, rows: int) -> list[Repeat]:
    """Return every document whose 5-grams are at least `similarity` (Jaccard) those of a preferred one that is kept."""
    ordered = sorted(documents, key=preference)
    shingles = [_shingles(document.text) for document in ordered]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    repeats = []
    for number, bands_of_document in enumerate(_signatures(shingles, bands=bands, rows=rows)):
        keys = [(band, values.tobytes()) for band, values in enumerate(bands_of_document)]
        candidates = sorted({other for key in keys for other in buckets.get(key, ())})
        best = max(((_jaccard(shingles[number], shingles[other]), -other) for other in candidates), default=(0.0, 0))
        if best[0] >= similarity:
            repeats.append(Repeat(ordered[number].id, ordered[-best[1]].id, round(best[0], 4)))
            continue
        for key in keys:
            buckets.setdefault(key, []).append(number)
    return repeats


def _shingles(text: str) -> frozenset[str]:
    words = shingle_words(text)
    return frozenset(
        " ".join(words[place : place + SHINGLE_WORDS]) for place in range(max(len(words) - SHINGLE_WORDS + 1, 1))
    )


def _signatures(shingles: Sequence[frozenset[str]], *, bands: int, rows: int) -> list[np.ndarray]:
    """Return each document's MinHash as (bands, rows), uint64 (Broder 1997; datasketch's permutations)."""
    from datasketch import MinHash

    signatures = []
    template = MinHash(num_perm=bands * rows, seed=MINHASH_SEED)
    for words in shingles:
        minhash = template.copy()
        minhash.update_batch([word.encode() for word in sorted(words)])
        signatures.append(minhash.hashvalues.reshape(bands, rows))
    return signatures


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(len(first | second), 1)
