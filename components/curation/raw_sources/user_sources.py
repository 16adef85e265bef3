"""A user's own sources: four JSON-lines files in a folder, checked line by line.

`documents.jsonl` and `records.jsonl` hold documents (fields: `components/documents.py`), `triples.jsonl` facts and
`queries.jsonl` queries. `gold_spans.jsonl` ({"id", "spans": [{"start", "end", "type"}]}) is optional: with it the
report measures de-identification.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from components.curation.raw_sources.queries import Query
from components.documents import Document, read_models, read_numbered_models
from components.errors import DataError
from components.knowledge_base.triples import Triple

RECORD_TYPES = ("outpatient_record", "inpatient_record", "dialogue")
M = TypeVar("M", bound=BaseModel)
Numbered = list[tuple[int, M]]  # with the line of the file each stands in


class GoldSpan(BaseModel):
    """Where an identifier stands, in code points; `end` is exclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    type: str


class GoldSpans(BaseModel):
    """All identifiers of one document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    spans: tuple[GoldSpan, ...]


@dataclass(frozen=True)
class UserSources:
    """What the folder held."""

    documents: list[Document]
    records: list[Document]
    triples: list[Triple]
    queries: list[Query]
    gold_spans: list[GoldSpans]


def read_user_sources(folder: Path) -> UserSources:
    """Read and check the folder.

    Raises:
        DataError: a file is missing, a line does not fit, an id stands twice, a gold span lies outside its text;
            the message starts with file:line.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; correct sources.folder in params.yaml, or set it to null")
    documents = read_numbered_models(folder / "documents.jsonl", Document)
    records = read_numbered_models(folder / "records.jsonl", Document)
    _check_unique(folder / "documents.jsonl", documents)
    _check_unique(folder / "records.jsonl", records, taken={item.id for _, item in documents})
    for number, record in records:
        if record.type not in RECORD_TYPES:
            raise DataError(
                f"{folder / 'records.jsonl'}:{number}: type {record.type!r} is no record type; use one of {', '.join(RECORD_TYPES)}"
            )
    gold_path = folder / "gold_spans.jsonl"
    gold_spans = read_numbered_models(gold_path, GoldSpans) if gold_path.is_file() else []
    _check_spans(gold_path, gold_spans, {item.id: item.text for _, item in [*documents, *records]})
    return UserSources(
        documents=[document for _, document in documents],
        records=[
            record if record.record_ids else record.model_copy(update={"record_ids": (record.id,)})
            for _, record in records
        ],
        triples=read_models(folder / "triples.jsonl", Triple),
        queries=read_models(folder / "queries.jsonl", Query),
        gold_spans=[item for _, item in gold_spans],
    )


def _check_unique(path: Path, documents: Numbered[Document], *, taken: Set[str] = frozenset()) -> None:
    seen = set(taken)
    for number, document in documents:
        if document.id in seen:
            raise DataError(f"{path}:{number}: id {document.id!r} stands twice in the sources; ids must be unique")
        seen.add(document.id)


def _check_spans(path: Path, gold_spans: Numbered[GoldSpans], texts: dict[str, str]) -> None:
    for number, item in gold_spans:
        if item.id not in texts:
            raise DataError(f"{path}:{number}: id {item.id!r} is no document or record of this folder; correct or remove the line")
        for span in item.spans:
            if not span.start < span.end <= len(texts[item.id]):
                raise DataError(
                    f"{path}:{number}: span {span.start}–{span.end} lies outside the text of {item.id} ({len(texts[item.id])} characters); correct it"
                )
