"""Raw documents and records whose text is, byte for byte, that of a withdrawn one: they go with it.

Curation drops such repeats and keeps one of them; where only that one was withdrawn, the same text would come back under
the other's id.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.layout import RAW_DOCUMENTS, RAW_RECORDS

KEYS = ("source_ids", "record_ids")


def repeats_of(root: Path, identifier: str) -> list[str]:
    """Return the ids of the raw rows with the text of a row that carries the id, without rows that carry it themselves."""
    paths = [root / path for path in (RAW_DOCUMENTS, RAW_RECORDS) if (root / path).is_file()]
    own = [row for row in _rows(paths, _encoded(identifier)) if carries(row, identifier)]
    found = {}
    for text in {str(row["text"]) for row in own if row.get("text")}:
        found |= {str(row["id"]): None for row in _rows(paths, _encoded(text)) if row.get("text") == text and not carries(row, identifier)}
    return list(found)


def carries(row: dict[str, Any], identifier: str) -> bool:
    """Say whether a raw row has the id, or was made from what has it."""
    return row.get("id") == identifier or any(identifier in (row.get(key) or ()) for key in KEYS)


def _rows(paths: Iterable[Path], needle: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows whose line holds the bytes; only those lines are parsed."""
    for path in paths:
        with path.open("rb") as stream:
            yield from (json.loads(line) for line in stream if needle in line)


def _encoded(text: str) -> bytes:
    """Return a string as the stages write it into a line."""
    return json.dumps(text, ensure_ascii=False).encode()
