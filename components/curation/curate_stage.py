"""Stage `curate`: raw sources → de-identified, filtered, graded documents without duplicates; every rejection kept.

Raw text never leaves this stage: detection and replacement come first, and a scan independent of them comes last.
"""

from collections import Counter
from typing import Any

from components.curation.authority import grade, newest_year
from components.curation.contradictions import Contradiction, find_contradictions
from components.curation.deidentification.detection import find_identifiers
from components.curation.deidentification.measurement import measure
from components.curation.deidentification.spans import Span
from components.curation.deidentification.surrogates import replace_identifiers
from components.curation.duplicates import Repeat, exact_repeats, near_repeats
from components.curation.filters import first_objection
from components.curation.leak_scan import leaks, refuse_leaks
from components.curation.normalisation import align_characters, clean_text
from components.documents import Document, read_jsonl, read_models, write_jsonl
from components.layout import CURATION_REPORT, DOCUMENTS, GOLD_SPANS, RAW_DOCUMENTS, RAW_RECORDS, REJECTIONS
from components.settings.data import CurateSettings
from components.stage import StageContext
from components.storage.files import write_json

SAFETY_RELATIONS = (
    "contraindicated",
    "treats",
)  # a contradiction here may harm: the document is dropped, not only graded E
Rejection = dict[str, str]


def run(context: StageContext) -> None:
    """Curate everything; write documents, rejections and the report.

    Raises:
        DataError: a source line is malformed, or a form of an identifier survived.
    """
    settings: CurateSettings = context.section("curate")
    raw = [*read_models(context.read(RAW_DOCUMENTS), Document), *read_models(context.read(RAW_RECORDS), Document)]
    gold = {row["id"]: [Span(**span) for span in row["spans"]] for row in read_jsonl(context.read(GOLD_SPANS))}
    documents, measurement = _deidentify(context, raw, gold)
    rejections: list[Rejection] = []
    documents = _filter(documents, settings, rejections)
    documents = _grade(documents, settings)
    documents = _drop_repeats(documents, settings, rejections)
    documents, contradictions = _resolve_contradictions(documents, rejections)
    refuse_leaks(documents)
    write_jsonl(context.write(DOCUMENTS), documents)
    write_jsonl(context.write(REJECTIONS), rejections)
    report = _report(raw, documents, rejections, measurement, contradictions)
    write_json(context.write(CURATION_REPORT), report)
    context.recorder.table(
        "rejections", [{"filter": name, "documents": count} for name, count in report["rejected"].items()]
    )
    context.recorder.summary(
        {
            "documents": len(documents),
            "rejected": len(rejections),
            "identifier_recall": measurement["all"]["recall"],
            "identifier_precision": measurement["all"]["precision"],
        }
    )


def _deidentify(
    context: StageContext, raw: list[Document], gold: dict[str, list[Span]]
) -> tuple[list[Document], dict[str, dict[str, float]]]:
    """Replace identifiers in every text and title; measure against the gold spans, where there are some."""
    documents, compared = [], []
    for number, document in enumerate(raw, start=1):
        text, title = align_characters(document.text), align_characters(document.title)
        spans = find_identifiers(text)
        if document.id in gold:
            compared.append((spans, gold[document.id]))
        documents.append(
            document.model_copy(
                update={
                    "text": clean_text(replace_identifiers(text, spans)),
                    "title": clean_text(replace_identifiers(title, find_identifiers(title))),
                    "source_ids": document.source_ids or (document.id,),
                }
            )
        )
        context.recorder.progress(number, len(raw))
    return documents, measure(compared)


def _filter(documents: list[Document], settings: CurateSettings, rejections: list[Rejection]) -> list[Document]:
    kept = []
    for document in documents:
        objection = first_objection(document, settings)
        if objection is None and (kinds := leaks(document.text)):
            objection = ("leak_scan", f"forms of identifiers left: {', '.join(kinds)}")
        if objection is None:
            kept.append(document)
        else:
            rejections.append({"id": document.id, "filter": objection[0], "reason": objection[1]})
    return kept


def _grade(documents: list[Document], settings: CurateSettings) -> list[Document]:
    newest = newest_year(documents)
    return [
        document.model_copy(
            update={
                "authority": grade(
                    document,
                    newest_year=newest,
                    high_impact=settings.high_impact,
                    low_impact=settings.low_impact,
                    outdated_years=settings.outdated_years,
                )
            }
        )
        for document in documents
    ]


def _drop_repeats(documents: list[Document], settings: CurateSettings, rejections: list[Rejection]) -> list[Document]:
    """Drop exact, then near repeats; what is kept takes over their source and record ids."""
    documents = _without(documents, exact_repeats(documents), "exact_duplicate", rejections)
    repeats = near_repeats(
        documents,
        similarity=settings.near_duplicate_similarity,
        bands=settings.minhash_bands,
        rows=settings.minhash_rows,
    )
    return _without(documents, repeats, "near_duplicate", rejections)


def _without(
    documents: list[Document], repeats: list[Repeat], name: str, rejections: list[Rejection]
) -> list[Document]:
    by_id = {document.id: document for document in documents}
    for repeat in repeats:
        rejections.append(
            {"id": repeat.id, "filter": name, "reason": f"repeats {repeat.of} (similarity {repeat.similarity:.2f})"}
        )
        dropped, kept = by_id.pop(repeat.id), by_id[repeat.of]
        by_id[repeat.of] = kept.model_copy(
            update={
                "source_ids": tuple(dict.fromkeys([*kept.source_ids, *dropped.source_ids])),
                "record_ids": tuple(dict.fromkeys([*kept.record_ids, *dropped.record_ids])),
            }
        )
    return list(by_id.values())


def _resolve_contradictions(
    documents: list[Document], rejections: list[Rejection]
) -> tuple[list[Document], list[Contradiction]]:
    """Drop documents that contradict better ones where it may harm; grade the others E."""
    contradictions = find_contradictions(documents)
    contradicted = {item.id for item in contradictions}
    harmful = {item.id: item for item in contradictions if item.relation in SAFETY_RELATIONS}
    for identifier, item in harmful.items():
        rejections.append(
            {"id": identifier, "filter": "contradiction", "reason": f"{item.claim}: denied by {item.denied_by}"}
        )
    kept = [
        document.model_copy(update={"authority": "E"}) if document.id in contradicted else document
        for document in documents
        if document.id not in harmful
    ]
    return kept, contradictions


def _report(
    raw: list[Document], documents: list[Document], rejections: list[Rejection], measurement: dict[str, dict[str, float]],
    contradictions: list[Contradiction],
) -> dict[str, Any]:  # fmt: skip
    return {
        "read": len(raw),
        "kept": len(documents),
        "rejected": dict(sorted(Counter(item["filter"] for item in rejections).items())),
        "by_type": dict(sorted(Counter(document.type for document in documents).items())),
        "by_authority": dict(sorted(Counter(document.authority or "E" for document in documents).items())),
        "identifiers": measurement,
        "contradictions": [item._asdict() for item in contradictions],
        "words": sum(len(document.text.split()) for document in documents),
    }
