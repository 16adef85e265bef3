"""For which data versions a run was started: a table of one row a version, claimed before the run is made."""

import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from components.pipeline.data_version import DataVersion

DATABASE = "var/watch/versions.db"
TABLE = (
    "CREATE TABLE IF NOT EXISTS versions (digest TEXT PRIMARY KEY, commit_id TEXT NOT NULL, claimed REAL NOT NULL, key TEXT NOT NULL, flow_run TEXT)"
)


@dataclass(frozen=True)
class Claim:
    """A version's row: `key` names the one run it is to have, `flow_run` is its id once it was made."""

    key: str
    flow_run: str | None


class WatchedVersions:
    """The table of a project."""

    def __init__(self, root: Path) -> None:
        self._path = root / DATABASE
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database, database:
            database.execute(TABLE)

    def claim(self, version: DataVersion) -> Claim:
        """Return the version's row, making it where it is new; of two that ask at once both get the same."""
        row = (version.digest, version.commit, time.time(), f"data-{version.digest[:16]}-{secrets.token_hex(4)}")
        with closing(self._open()) as database, database:
            database.execute("INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, NULL)", row)
            key, flow_run = database.execute("SELECT key, flow_run FROM versions WHERE digest = ?", (version.digest,)).fetchone()
        return Claim(key, flow_run)

    def note_started(self, version: DataVersion, *, flow_run: str) -> None:
        """Note the run that was made for a version."""
        with closing(self._open()) as database, database:
            database.execute("UPDATE versions SET flow_run = ? WHERE digest = ? AND flow_run IS NULL", (flow_run, version.digest))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)
