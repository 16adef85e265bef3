"""JSON-lines files and the documents in them: the form in which every stage hands text to the next."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import DataError
from components.storage.files import atomic_writer

DocumentType = Literal[
    "textbook", "guideline", "drug_insert", "encyclopedia", "abstract", "pathway",
    "outpatient_record", "inpatient_record", "dialogue", "web",
]  # fmt: skip
Authority = Literal["A", "B", "C", "D", "E"]
M = TypeVar("M", bound=BaseModel)


class Document(BaseModel):
    """One text with where it came from. Raw before `curate`; de-identified and graded after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    type: DocumentType
    title: str = ""
    text: str
    source: str = Field(description="publisher, journal or hospital department")
    year: int | None = None
    impact: float | None = Field(default=None, description="impact factor of a journal, where it has one")
    language: str = "en"
    authority: Authority | None = Field(default=None, description="graded A (best) to E by curation")
    entities: tuple[str, ...] = Field(default=(), description="knowledge-base ids the text is about")
    source_ids: tuple[str, ...] = Field(default=(), description="ids of the raw documents it was made from")
    record_ids: tuple[str, ...] = Field(default=(), description="ids of the patient records it was made from")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file.

    Raises:
        DataError: the file is missing, or a line is not a JSON object; the message starts with file:line.
    """
    for _, value in read_numbered_lines(path):
        yield value


def read_models(path: Path, model: type[M]) -> list[M]:
    """Read a JSON-lines file into validated models.

    Raises:
        DataError: as `read_jsonl`, or a line that does not fit the model, named by file:line and field.
    """
    return [item for _, item in read_numbered_models(path, model)]


def read_numbered_models(path: Path, model: type[M]) -> list[tuple[int, M]]:
    """As `read_models`, each with its line's number in the file (from 1; empty lines count)."""
    items = []
    for number, value in read_numbered_lines(path):
        try:
            items.append((number, model.model_validate(value)))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "line"
            raise DataError(f"{path}:{number}: {field}: {first['msg']}; mend or remove the line") from None
    return items


def read_numbered_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `read_jsonl`, each object with its line's number in the file (from 1; empty lines count)."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it, or check the folder in params.yaml")
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8") from None
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not valid JSON ({error.msg}); mend or remove the line") from None
            if not isinstance(value, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, found {type(value).__name__}; mend or remove the line")
            yield number, value


def write_jsonl(path: Path, items: Iterable[BaseModel | dict[str, Any]]) -> int:
    """Write items as JSON lines, atomically and with sorted keys; return how many."""
    count = 0
    with atomic_writer(path) as stream:
        for item in items:
            value = item.model_dump(mode="json") if isinstance(item, BaseModel) else item
            stream.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")
            count += 1
    return count
