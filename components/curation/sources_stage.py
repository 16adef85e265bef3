"""Stage `sources`: the raw material of a project, from the knowledge base and the seed, or from a user's own folder."""

from pathlib import Path

from components.curation.raw_sources.defects import write_defects
from components.curation.raw_sources.document_writing import write_documents
from components.curation.raw_sources.queries import write_queries
from components.curation.raw_sources.records import PlantedRecord, write_records
from components.curation.raw_sources.user_sources import UserSources, read_user_sources
from components.documents import Document, write_jsonl
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.subset import select_diseases
from components.knowledge_base.triples import triples
from components.knowledge_base.validation import check_codes
from components.layout import GOLD_SPANS, KNOWLEDGE_BASE, QUERIES, RAW_DOCUMENTS, RAW_RECORDS, TRIPLES
from components.settings.data import SourcesSettings
from components.stage import StageContext

RECORDS_INDEX = (
    "artifacts/sources/records_index.jsonl"  # {"id", "disease", "combination"}: the features a record combines
)


def run(context: StageContext) -> None:
    """Write documents, records, gold spans, triples and queries.

    Raises:
        DataError: the knowledge base or the user's folder is malformed; the message starts with file:line.
    """
    settings: SourcesSettings = context.section("sources")
    if settings.folder is not None:
        sources = read_user_sources(context.root / Path(settings.folder).expanduser())
        _write_user_sources(context, sources)
        _summarise(
            context,
            documents=len(sources.documents),
            records=len(sources.records),
            triples=len(sources.triples),
            queries=len(sources.queries),
        )
        return
    folder = context.read(KNOWLEDGE_BASE)
    whole = load_knowledge_base(folder)
    check_codes(whole, folder)
    knowledge_base = select_diseases(whole, settings.diseases)
    context.recorder.progress(1, 4)
    sound = list(write_documents(knowledge_base, seed=context.seed, per_disease=settings.documents_per_disease))
    documents = _interleaved([*sound, *write_defects(knowledge_base, sound, seed=context.seed, settings=settings)])
    context.recorder.progress(2, 4)
    records = list(write_records(knowledge_base, seed=context.seed, per_disease=settings.records_per_disease))
    context.recorder.progress(3, 4)
    facts = triples(knowledge_base)
    write_jsonl(context.write(RAW_DOCUMENTS), documents)
    _write_records(context, records)
    write_jsonl(context.write(TRIPLES), facts)
    queries = write_jsonl(
        context.write(QUERIES), write_queries(knowledge_base, seed=context.seed, count=settings.queries)
    )
    _summarise(context, documents=len(documents), records=len(records), triples=len(facts), queries=queries)


def _interleaved(documents: list[Document]) -> list[Document]:
    """Order by the id's reversed spelling, so that types and defects are mixed and the order never depends on time."""
    return sorted(documents, key=lambda document: document.id[::-1])


def _write_records(context: StageContext, records: list[PlantedRecord]) -> None:
    write_jsonl(context.write(RAW_RECORDS), [record.document for record in records])
    write_jsonl(
        context.write(GOLD_SPANS),
        [
            {
                "id": record.document.id,
                "spans": [{"start": start, "end": end, "type": kind} for start, end, kind in record.spans],
            }
            for record in records
        ],
    )
    write_jsonl(
        context.write(RECORDS_INDEX),
        [
            {"id": record.document.id, "disease": record.document.entities[0], "combination": list(record.combination)}
            for record in records
        ],
    )


def _write_user_sources(context: StageContext, sources: UserSources) -> None:
    write_jsonl(context.write(RAW_DOCUMENTS), sources.documents)
    write_jsonl(context.write(RAW_RECORDS), sources.records)
    write_jsonl(context.write(GOLD_SPANS), sources.gold_spans)
    write_jsonl(context.write(TRIPLES), sources.triples)
    write_jsonl(context.write(QUERIES), sources.queries)
    write_jsonl(context.write(RECORDS_INDEX), [])


def _summarise(context: StageContext, **counts: int) -> None:
    context.recorder.progress(4, 4)
    context.recorder.summary({name: float(count) for name, count in counts.items()})
