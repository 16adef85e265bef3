"""Recall and precision of found spans against gold spans, by type.

A gold character counts as recalled when any found span covers it, whatever its type: what matters is that it is
replaced. Precision is the share of found characters that lie in a gold span. Both are counted in characters.
"""

from collections.abc import Iterable, Sequence

from components.curation.deidentification.spans import Span

Counts = dict[str, dict[str, int]]


def measure(items: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> dict[str, dict[str, float]]:
    """Return, for every gold type and for "all", recall, precision and the number of gold spans.

    Args:
        items: (found spans, gold spans) of each document.
    """
    counts: Counts = {}
    for found, gold in items:
        found_characters = _characters(found)
        gold_characters = _characters(gold)
        for kind in sorted({span.type for span in [*found, *gold]}):
            row = counts.setdefault(kind, dict.fromkeys(("spans", "gold", "recalled", "found", "right"), 0))
            own_gold = _characters([span for span in gold if span.type == kind])
            own_found = _characters([span for span in found if span.type == kind])
            row["spans"] += sum(span.type == kind for span in gold)
            row["gold"] += len(own_gold)
            row["recalled"] += len(own_gold & found_characters)
            row["found"] += len(own_found)
            row["right"] += len(own_found & gold_characters)
    total = {key: sum(row[key] for row in counts.values()) for key in ("spans", "gold", "recalled", "found", "right")}
    return {kind: _rates(row) for kind, row in [*sorted(counts.items()), ("all", total)]}


def _rates(row: dict[str, int]) -> dict[str, float]:
    return {
        "spans": row["spans"],
        "recall": round(row["recalled"] / row["gold"], 4) if row["gold"] else 1.0,
        "precision": round(row["right"] / row["found"], 4) if row["found"] else 1.0,
    }


def _characters(spans: Sequence[Span]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}
