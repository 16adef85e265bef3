"""Text for what the library leaves out: the uncovered points of one entity, written into one paragraph.

The report closes its gaps the same way: find what is not covered, synthesise, look again. Only points that the graph
itself states are written; nothing is invented.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from components.knowledge.points import KnowledgePoint

POINTS_PER_PARAGRAPH = 6


class Paragraph(NamedTuple):
    """A synthesised text on one entity, and the ids of the triples it tells."""

    entity: str
    text: str
    triples: tuple[str, ...]


def synthesise(points: Sequence[KnowledgePoint]) -> Iterator[Paragraph]:
    """Yield paragraphs for uncovered points, at most `POINTS_PER_PARAGRAPH` points each."""
    by_entity: dict[str, list[KnowledgePoint]] = {}
    for point in points:
        by_entity.setdefault(point.entity, []).append(point)
    for entity, members in sorted(by_entity.items()):
        for start in range(0, len(members), POINTS_PER_PARAGRAPH):
            told = members[start : start + POINTS_PER_PARAGRAPH]
            yield Paragraph(entity, " ".join(point.text for point in told), tuple(dict.fromkeys(triple for point in told for triple in point.triples)))
