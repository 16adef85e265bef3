"""Which ids a row of each published file carries: its own, and those of what it was made from. Ids, never text.

A link (id, kind, own) says: the row `own` carries `id` as its source, record, case, document or triple. A row's own id
has kind `own`. Rows without an id of their own are named by their line, `line 12`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from components import layout

Row = Mapping[str, Any]
LINE = re.compile(r"line \d+")
REVIEW_LINES = "artifacts/answers/review.jsonl"
HASH_LETTERS = 12  # of a preference pair's id, after its dimension


class Link(NamedTuple):
    """`id` stands in the row `own`, as `kind`; in a rejection, `own` is the filter that refused it."""

    id: str
    kind: str
    own: str


def row_links(path: str, row: Row, number: int) -> Iterator[Link]:
    """Yield the links of one row.

    Args:
        path: of the file in the project.
        number: of the line, from 1.
    """
    if path == layout.REJECTIONS:
        yield Link(str(row["id"]), "rejected", str(row.get("filter", "")))
        return
    own = OWN_IDS.get(path, _own_id)(row)
    if own is not None:
        yield Link(own, "own", "")
    own = own or f"line {number}"
    for kind, identifier in _made_from(path, row):
        if identifier != own or kind == "record":
            yield Link(identifier, kind, own)


def is_line(own: str) -> bool:
    """Say whether it is a line's name: no id, so nothing is made of it."""
    return LINE.fullmatch(own) is not None


def triple_id(subject: str, predicate: str, object_: str) -> str:
    """Return the id of a triple, which is also its knowledge point's."""
    return f"{predicate}:{subject}:{object_}"


def _made_from(path: str, row: Row) -> Iterator[tuple[str, str]]:
    for identifier in row.get("source_ids") or ():
        yield "source", str(identifier)
    for identifier in row.get("record_ids") or ():
        yield "record", str(identifier)
    if row.get("case_id"):
        yield "case", str(row["case_id"])
    if row.get("document_id"):
        yield "document", str(row["document_id"])
    for passage in row.get("passages") or ():
        if isinstance(passage, Mapping):
            yield "document", str(passage["document_id"])
    for identifier in row.get("documents") or () if path == REVIEW_LINES else ():
        yield "document", str(identifier)
    if path == layout.SENTENCES:
        if len(row.get("triple", ())) == 3:
            yield "triple", triple_id(*row["triple"])
        for identifier in row.get("triples") or ():
            yield "triple", str(identifier)
    if path == layout.REWARD_PAIRS and (case := _case_of_pair(row)):
        yield "case", case


def _own_id(row: Row) -> str | None:
    identifier = row.get("id")
    return None if identifier is None else str(identifier)


def _own_triple(row: Row) -> str:
    return triple_id(str(row["subject"]), str(row["predicate"]), str(row["object"]))


def _case_of_pair(row: Row) -> str | None:
    """Return the case of a preference pair: its id is `<case>-<dimension>-<12 hexadecimal digits>`."""
    head, _, tail = str(row.get("id", "")).rpartition("-")
    case = head.removesuffix(f"-{row.get('dimension')}")
    return case if len(tail) == HASH_LETTERS and case != head else None


OWN_IDS: dict[str, Callable[[Row], str | None]] = {layout.TRIPLES: _own_triple}
