"""Retrieval quality: how often a query about an entity finds a passage about it."""

from collections.abc import Sequence

from components.retrieval.index import RetrievalIndex


def recall_at(
    index: RetrievalIndex, queries: Sequence[str], entities: Sequence[Sequence[str]], *, counts: Sequence[int] = (1, 3, 10)
) -> dict[str, float]:
    """Return `recall_at_<k>` (share of queries with a passage about any of their entities in the first k) and the mean
    reciprocal rank; queries without entities, or about entities no passage is about, are left out.

    Returns:
        Values in 0..1; `queries` is how many counted. Empty where none did.
    """
    known = {entity for chunk in index.chunks for entity in chunk.entities}
    usable = [(query, set(names) & known) for query, names in zip(queries, entities, strict=True) if set(names) & known]
    if not usable:
        return {}
    found = index.search_many([query for query, _ in usable], count=max(counts))
    ranks = []
    for (_, wanted), passages in zip(usable, found, strict=True):
        hits = [rank for rank, passage in enumerate(passages, start=1) if wanted & set(passage.entities)]
        ranks.append(hits[0] if hits else None)
    values = {f"recall_at_{count}": sum(rank is not None and rank <= count for rank in ranks) / len(ranks) for count in counts}
    values["mean_reciprocal_rank"] = sum(1.0 / rank for rank in ranks if rank is not None) / len(ranks)
    values["queries"] = float(len(ranks))
    return values
