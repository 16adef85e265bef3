"""Stage `index`: curated, graded documents → the retrieval index, and its recall on the users' queries.

Patients' records and dialogues are left out: an answer never cites a patient.
"""

from typing import Any

from components import layout
from components.documents import Document, read_jsonl, read_models
from components.retrieval.embedding import load_embedder
from components.retrieval.index import RetrievalIndex
from components.retrieval.recall import recall_at
from components.stage import StageContext

PATIENT_TYPES = frozenset({"outpatient_record", "inpatient_record", "dialogue"})


def run(context: StageContext) -> None:
    """Build and save the index; measure recall.

    Raises:
        DataError: a malformed document or query, or no text at all.
    """
    documents = [document for document in read_models(context.read(layout.DOCUMENTS), Document) if document.type not in PATIENT_TYPES]
    queries: list[dict[str, Any]] = list(read_jsonl(context.read(layout.QUERIES)))
    index = RetrievalIndex.build(
        documents, context.section("index"), embedder=load_embedder(), progress=lambda done, total: context.recorder.progress(done, total)
    )
    index.save(context.write(layout.INDEX))
    recall = recall_at(index, [str(query["text"]) for query in queries], [query.get("entities") or () for query in queries])
    context.recorder.summary({"documents": len(documents), "chunks": len(index.chunks), **recall})
