"""The list of withdrawn ids, data/withdrawn.jsonl: lines are added and never changed, and hold ids, never text.

    {"id": "record-croup-02", "time": "2026-11-25T09:30:00Z", "who": "ann@lab", "why": "consent withdrawn", "repeats": null}

`repeats` names the id that was asked for, where this one was withdrawn because its text is the same. Stage `sources`
reads the list and leaves the rows out, so that nothing after it can see them; an empty list changes no byte.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from components.documents import Document, read_models
from components.layout import WITHDRAWN
from components.storage.files import atomic_writer

Row = TypeVar("Row", bound=BaseModel)


class Withdrawal(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, description="of a document, a patient's record or a query")
    time: str = Field(description="when it was withdrawn, ISO 8601 in UTC")
    who: str = Field(description="who entered it")
    why: str = Field(description="the reason, without names")
    repeats: str | None = Field(default=None, description="the id asked for, whose text this one repeats word for word")


def read_withdrawals(path: Path) -> list[Withdrawal]:
    """Return the list, oldest first.

    Raises:
        DataError: the file is missing, or a line does not fit; the message starts with file:line.
    """
    return read_models(path, Withdrawal)


def withdrawn_ids(path: Path) -> frozenset[str]:
    """Return the ids of the list."""
    return frozenset(item.id for item in read_withdrawals(path))


def add_withdrawals(root: Path, items: Iterable[Withdrawal]) -> list[Withdrawal]:
    """Append what the list does not hold yet, in one step, and return that; makes the list where there is none."""
    path = root / WITHDRAWN
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    known = {item.id for item in read_withdrawals(path)} if path.is_file() else set()
    new = list({item.id: item for item in items if item.id not in known}.values())
    if new or not path.is_file():
        with atomic_writer(path) as stream:
            stream.write(before if before.endswith("\n") or not before else f"{before}\n")
            stream.writelines(json.dumps(item.model_dump(), ensure_ascii=False, sort_keys=True) + "\n" for item in new)
    return new


def is_withdrawn(document: Document, withdrawn: Collection[str]) -> bool:
    """Say whether a document, or a document or record it was made from, is withdrawn."""
    return any(item in withdrawn for item in (document.id, *document.source_ids, *document.record_ids))


def kept_documents(documents: Iterable[Document], withdrawn: Collection[str]) -> list[Document]:
    """Return the documents that are not withdrawn, in their order."""
    return [document for document in documents if not is_withdrawn(document, withdrawn)]


def kept_rows(rows: Iterable[Row], withdrawn: Collection[str]) -> list[Row]:
    """Return the rows whose own id (attribute `id`) is not withdrawn, in their order."""
    return [row for row in rows if getattr(row, "id") not in withdrawn]  # noqa: B009 - a bound of BaseModel declares no id
