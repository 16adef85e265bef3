"""Authority A to E of a document, in the way of evidence-based medicine (report, "Authoritativeness labeling").

Type first, then the journal's impact for literature, then age: a guideline, pathway or insert that is much older than the
newest document of the corpus loses a grade. Pages of forums and crawls stay at D. E is kept for what contradicts
better sources (`contradictions.py`) and for what nobody answers for.
"""

from components.documents import Authority, Document

BY_TYPE: dict[str, Authority] = {
    "guideline": "A",
    "pathway": "B",
    "drug_insert": "A",
    "textbook": "B",
    "encyclopedia": "C",
    "abstract": "C",
    "outpatient_record": "D",
    "inpatient_record": "D",
    "dialogue": "D",
    "web": "D",
}
GRADES: tuple[Authority, ...] = ("A", "B", "C", "D", "E")
AGEING_TYPES = ("guideline", "pathway", "drug_insert")
ANONYMOUS_SOURCES = ("", "unknown", "crawled page")


def grade(
    document: Document, *, newest_year: int, high_impact: float, low_impact: float, outdated_years: int
) -> Authority:
    """Return the document's authority.

    Args:
        newest_year: the latest year in the corpus; time is measured from it, so that a grade never depends on the clock.
        high_impact: impact factor from which literature is B; at 2 × this, A.
        low_impact: impact factor below which literature is D.
        outdated_years: age from which a guideline, pathway or insert loses a grade.
    """
    place = GRADES.index(BY_TYPE[document.type])
    if document.type == "abstract" and document.impact is not None:
        place = _literature_place(document.impact, high_impact=high_impact, low_impact=low_impact)
    if document.type in AGEING_TYPES and document.year is not None and newest_year - document.year >= outdated_years:
        place += 1
    if document.source.casefold() in ANONYMOUS_SOURCES:
        place = GRADES.index("E")
    return GRADES[min(place, len(GRADES) - 1)]


def newest_year(documents: list[Document]) -> int:
    """Return the latest year any document names; 0 if none does."""
    return max((document.year for document in documents if document.year is not None), default=0)


def _literature_place(impact: float, *, high_impact: float, low_impact: float) -> int:
    if impact >= 2 * high_impact:
        return 0
    if impact >= high_impact:
        return 1
    return 3 if impact < low_impact else 2
