"""Stage `sources`: the raw material of a project, from the knowledge base and the seed, or from a user's own folder.

What data/withdrawn.jsonl names is left out last: the draws before it are those of an empty list, so nothing else changes.
"""

from collections.abc import Collection
from pathlib import Path

from components.curation.raw_sources.defects import write_defects
from components.curation.raw_sources.document_writing import write_documents
from components.curation.raw_sources.queries import write_queries
from components.curation.raw_sources.records import PlantedRecord, write_records
from components.curation.raw_sources.user_sources import UserSources, read_user_sources
from components.curation.withdrawn import is_withdrawn, kept_documents, kept_rows, withdrawn_ids
from components.documents import Document, write_jsonl
from components.knowledge_base.loading import load_knowledge_base
from components.knowledge_base.subset import select_diseases
from components.knowledge_base.triples import triples
from components.knowledge_base.validation import check_codes
from components.layout import GOLD_SPANS, KNOWLEDGE_BASE, QUERIES, RAW_DOCUMENTS, RAW_RECORDS, TRIPLES, WITHDRAWN
from components.settings.data import SourcesSettings
from components.stage import StageContext

RECORDS_INDEX = (
    "artifacts/sources/records_index.jsonl"  # {"id", "disease", "combination"}: the features a record combines
)


def run(context: StageContext) -> None:
    """Write documents, records, gold spans, triples and queries.

    Raises:
        DataError: the knowledge base, the user's folder or the list of withdrawn ids is malformed; the message starts with
            file:line.
    """
    settings: SourcesSettings = context.section("sources")
    withdrawn = withdrawn_ids(context.read(WITHDRAWN))
    if settings.folder is not None:
        _write_user_sources(context, read_user_sources(context.root / Path(settings.folder).expanduser()), withdrawn)
        return
    folder = context.read(KNOWLEDGE_BASE)
    whole = load_knowledge_base(folder)
    check_codes(whole, folder)
    knowledge_base = select_diseases(whole, settings.diseases)
    context.recorder.progress(1, 4)
    sound = list(write_documents(knowledge_base, seed=context.seed, per_disease=settings.documents_per_disease))
    made = _interleaved([*sound, *write_defects(knowledge_base, sound, seed=context.seed, settings=settings)])
    context.recorder.progress(2, 4)
    planted = list(write_records(knowledge_base, seed=context.seed, per_disease=settings.records_per_disease))
    context.recorder.progress(3, 4)
    documents = kept_documents(made, withdrawn)
    records = [record for record in planted if not is_withdrawn(record.document, withdrawn)]
    facts = triples(knowledge_base)
    write_jsonl(context.write(RAW_DOCUMENTS), documents)
    _write_records(context, records)
    write_jsonl(context.write(TRIPLES), facts)
    asked = list(write_queries(knowledge_base, seed=context.seed, count=settings.queries))
    queries = write_jsonl(context.write(QUERIES), kept_rows(asked, withdrawn))
    left_out = len(made) + len(planted) + len(asked) - len(documents) - len(records) - queries
    _summarise(context, documents=len(documents), records=len(records), triples=len(facts), queries=queries, withdrawn=left_out)


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


def _write_user_sources(context: StageContext, sources: UserSources, withdrawn: Collection[str]) -> None:
    documents, records = kept_documents(sources.documents, withdrawn), kept_documents(sources.records, withdrawn)
    standing, queries = {item.id for item in (*documents, *records)}, kept_rows(sources.queries, withdrawn)
    write_jsonl(context.write(RAW_DOCUMENTS), documents)
    write_jsonl(context.write(RAW_RECORDS), records)
    write_jsonl(context.write(GOLD_SPANS), [item for item in sources.gold_spans if item.id in standing])
    write_jsonl(context.write(TRIPLES), sources.triples)
    write_jsonl(context.write(QUERIES), queries)
    write_jsonl(context.write(RECORDS_INDEX), [])
    left_out = sum(map(len, (sources.documents, sources.records, sources.queries))) - len(documents) - len(records) - len(queries)
    _summarise(context, documents=len(documents), records=len(records), triples=len(sources.triples), queries=len(queries), withdrawn=left_out)


def _summarise(context: StageContext, **counts: int) -> None:
    context.recorder.progress(4, 4)
    context.recorder.summary({name: float(count) for name, count in counts.items()})
