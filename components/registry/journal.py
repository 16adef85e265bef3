"""The promotion journal: an append-only table that decides which version is champion; the registry's aliases follow it.

Inserting the next sequence number with the champion one expects is the compare-and-set: of two writers that read the
same last entry, the table's primary key lets one through. At most one PREPARED entry is open at a time.

    PREPARED → aliases set and read back → COMMITTED      promoted (or rolled back)
    PREPARED → ABORTED                                     the version is gone; nothing changed
    REFUSED | HELD                                         the gate said no | nobody may promote by itself
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from components.errors import StorageError, UserError
from components.tracking.addresses import JOURNAL, journal_address, without_password

Kind = Literal["PREPARED", "COMMITTED", "ABORTED", "REFUSED", "HELD"]
METADATA = sa.MetaData()
TABLE = sa.Table(
    "promotions",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("closes", sa.Integer, unique=True, nullable=True),  # the PREPARED entry this one ends
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(40), nullable=False),
    sa.Column("champion_before", sa.String(40), nullable=True),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("decision_key", sa.String(64), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("details", sa.Text, nullable=False),  # JSON: reasons, gate table, model reference, run
)


class PromotionConflict(UserError):
    """Somebody else changed, or is changing, the champion."""


@dataclass(frozen=True)
class Entry:
    """One line of the journal."""

    model: str
    version: str
    kind: Kind
    action: str
    decision_key: str
    who: str
    champion_before: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    closes: int | None = None
    sequence: int = 0
    time: float = 0.0


class Journal:
    """The journal in a database: SQLite by default, any SQLAlchemy address for a team."""

    def __init__(self, url: str) -> None:
        is_file = url.startswith("sqlite")
        self._engine = sa.create_engine(url, connect_args={"timeout": 30} if is_file else {"connect_timeout": 30}, pool_pre_ping=not is_file)
        try:
            METADATA.create_all(self._engine)
        except DBAPIError as error:
            if not self._is_made():  # of two that make it at once, one is refused
                to_do = "mend the file's rights or free the disk" if is_file else "check that the database runs, its address, and the password's place (PGPASSFILE or PGPASSWORD)"
                raise StorageError(f"{without_password(url)}: the promotion journal cannot be opened ({str(error.orig).strip()}); {to_do}") from None

    def entries(self, model: str) -> list[Entry]:
        """Return every entry about a model, oldest first."""
        return [entry for entry in self._all() if entry.model == model]

    def champion(self, model: str) -> Entry | None:
        """Return the entry that made the present champion, or None."""
        committed = [entry for entry in self.entries(model) if entry.kind == "COMMITTED"]
        return committed[-1] if committed else None

    def open_preparation(self, model: str) -> Entry | None:
        """Return the PREPARED entry nobody has closed yet, or None."""
        entries = self.entries(model)
        closed = {entry.closes for entry in entries}
        for entry in entries:
            if entry.kind == "PREPARED" and entry.sequence not in closed:
                return entry
        return None

    def prepare(self, entry: Entry, *, expected_champion: str | None) -> Entry:
        """Append a PREPARED entry if the champion is still the expected version and no other promotion is open.

        Raises:
            PromotionConflict: it is not, one is, or another writer was quicker.
        """
        last = self._last_sequence()
        champion, pending = self.champion(entry.model), self.open_preparation(entry.model)
        if pending is not None:
            raise PromotionConflict(f"promotion {pending.sequence} of {entry.model} version {pending.version} by {pending.who} is still open; try again when it has ended")
        found = champion.version if champion else None
        if found != expected_champion:
            raise PromotionConflict(f"the champion of {entry.model} is version {found}, not {expected_champion} as when the gate compared; run the gate again")
        try:
            return self._insert(replace(entry, kind="PREPARED", champion_before=found, sequence=last + 1))
        except IntegrityError:
            raise PromotionConflict(f"another promotion of {entry.model} was quicker; run the gate again against the new champion") from None

    def close(self, prepared: Entry, kind: Literal["COMMITTED", "ABORTED"], *, note: str | None = None) -> Entry:
        """Append the entry that ends a PREPARED one; where another process has ended it already, return that one."""
        details = {**prepared.details, "note": note} if note else prepared.details
        closing = replace(prepared, kind=kind, closes=prepared.sequence, details=details)
        return self._append(closing, already=lambda: self._closing(prepared.sequence))

    def note(self, entry: Entry) -> Entry:
        """Append a decision that changes no alias (REFUSED, HELD)."""
        return self._append(entry, already=lambda: None)

    def last_decision(self, model: str, decision_key: str) -> Entry | None:
        """Return the newest closed decision on these results, unless another candidate was promoted since."""
        decided = [entry for entry in self.entries(model) if entry.kind != "PREPARED"]
        mine = [entry for entry in decided if entry.decision_key == decision_key and entry.kind != "ABORTED"]
        if not mine:
            return None
        later = [item for item in decided if item.sequence > mine[-1].sequence]
        overtaken = any(item.kind == "COMMITTED" and item.action == "promote" and item.version != mine[-1].version for item in later)
        return None if overtaken else mine[-1]

    def _append(self, entry: Entry, *, already: Any) -> Entry:
        while True:
            found: Entry | None = already()
            if found is not None:
                return found
            try:
                return self._insert(replace(entry, sequence=self._last_sequence() + 1))
            except IntegrityError:
                continue

    def _closing(self, sequence: int) -> Entry | None:
        return next((entry for entry in self._all() if entry.closes == sequence), None)

    def _insert(self, entry: Entry) -> Entry:
        entry = replace(entry, time=time.time())
        values = {**entry.__dict__, "details": json.dumps(dict(entry.details), ensure_ascii=False, sort_keys=True)}
        with self._engine.begin() as connection:
            connection.execute(TABLE.insert().values(**values))
        return entry

    def _is_made(self) -> bool:
        try:
            return sa.inspect(self._engine).has_table(TABLE.name)
        except DBAPIError:
            return False

    def _last_sequence(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(TABLE.c.sequence), 0))).scalar_one())

    def _all(self) -> list[Entry]:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(TABLE).order_by(TABLE.c.sequence)).mappings()
            return [Entry(**{**row, "details": json.loads(row["details"])}) for row in rows]


def open_journal(root: Path) -> Journal:
    """Open the project's journal, in the database of MLflow where that is PostgreSQL, making the table on first use."""
    address = journal_address(root)
    if address.startswith("sqlite"):
        (root / JOURNAL).parent.mkdir(parents=True, exist_ok=True)
    return Journal(address)
