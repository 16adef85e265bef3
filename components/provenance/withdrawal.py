"""Withdraw an id: enter it in data/withdrawn.jsonl, say what must be rebuilt, which versions saw it, and where copies lie."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.curation.withdrawn import Withdrawal, add_withdrawals, read_withdrawals
from components.errors import UserError
from components.layout import QUERIES, RAW_DOCUMENTS, RAW_RECORDS, WITHDRAWN
from components.provenance.executions import Reached, reached_by
from components.provenance.repeated_texts import repeats_of
from components.provenance.stored_copies import Copy, stored_copies
from components.provenance.usage import who_used
from components.provenance.withdrawal_effects import stages_to_rebuild, versions_among, what_is_by_hand, what_stops
from components.registry.promotion import user_name

WITHDRAWABLE = (RAW_DOCUMENTS, RAW_RECORDS, QUERIES)


@dataclass(frozen=True)
class Withdrawn:
    """What withdrawing an id means here."""

    ids: tuple[str, ...]  # the id asked for, then those of raw rows with the same text
    added: tuple[str, ...]  # what the list did not hold before
    rebuilt: tuple[str, ...]  # stages that made or used rows of it, or use what those made
    saw: Mapping[str, Mapping[str, str]]  # version → {model: effect}
    influenced: tuple[str, ...]  # models only chosen, shaped or rewarded by it: kept
    copies: tuple[Copy, ...]
    champion: str | None  # digest of the champion's model, where it is among the copies
    stops: tuple[str, ...]  # what no longer works once the copies are away
    by_hand: tuple[str, ...]  # what only a person can do
    unread: tuple[str, ...]


def withdraw(root: Path, identifier: str, *, why: str, who: str | None = None, marks: bool = True) -> tuple[Withdrawn, Reached]:
    """Enter an id in the list (where `marks`) and return what it means.

    Raises:
        UserError: nothing here holds the id and it was never withdrawn, or it is not one of a document, record or query.
    """
    listed = {item.id: item for item in read_withdrawals(root / WITHDRAWN)} if (root / WITHDRAWN).is_file() else {}
    saw = _who_saw(root, identifier, is_listed=identifier in listed)
    ids = [identifier, *(item.id for item in listed.values() if item.repeats == identifier)]
    ids = list(dict.fromkeys([*ids, *repeats_of(root, identifier)]))
    new: list[Withdrawal] = []
    if marks:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        items = [Withdrawal(id=item, time=now, who=who or user_name(), why=why, repeats=identifier if item != identifier else None) for item in ids]
        new = add_withdrawals(root, items)
    reached = reached_by(root, ids)
    copies, unanswered = stored_copies(root, reached)
    versions = versions_among(root, copies)
    found = Withdrawn(
        ids=tuple(ids), added=tuple(item.id for item in new), rebuilt=stages_to_rebuild(root, reached), saw=saw,
        influenced=tuple(sorted({name for names in reached.influenced.values() for name in names})), copies=tuple(copies),
        champion=next((version.digest for version in versions if version.is_champion), None), stops=what_stops(copies, versions), by_hand=what_is_by_hand(root), unread=(*reached.unread, *unanswered),
    )  # fmt: skip
    return found, reached


def _who_saw(root: Path, identifier: str, *, is_listed: bool) -> dict[str, dict[str, str]]:
    """Return {version or run: {model: effect}}; refuse an id that is unknown, or is none of the raw material."""
    try:
        answer: dict[str, Any] = who_used(root, identifier)
    except UserError:
        if is_listed:
            return {}
        raise
    raw = {item["path"] for item in answer["stands"]} & set(WITHDRAWABLE)
    if not (raw or answer["rejected_by"] or is_listed):
        where = ", ".join(item["path"] for item in answer["stands"][:3])
        raise UserError(f"{identifier}: only a document, a patient's record or a query can be withdrawn, and this stands in {where}; ask `quarkmed who-used {identifier}` what it was made from")
    return {holder["name"]: holder["effects"] for holder in answer["holders"] if holder["effects"]}


def purgeable(found: Withdrawn, *, with_champion: bool, with_ids: bool) -> list[Copy]:
    """Return the copies a purge takes: without the champion's model, and without the index (ids only), unless asked for."""
    kept = None if with_champion else found.champion
    return [copy for copy in found.copies if (copy.place != "index of ids" or with_ids) and not (copy.place == "store" and copy.digest == kept)]
