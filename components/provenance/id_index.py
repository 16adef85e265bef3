"""The index of ids: for each published data version a SQLite file `var/lineage/ids/<md5>-<path>.db`, made once.

A data version never changes, so neither does its index: what is missing or damaged is made again from DVC's cache,
whose bytes are checked against the version's MD5 on the way, and what is there outlives the cache. The file's SHA-256
stands beside it and is compared before every answer: a wrong "nobody saw it" is the one answer that must not be given.
Rows go in by `staging` and come out sorted, so equal data give equal files.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.errors import StorageError
from components.lineage import digest_bytes, digest_file
from components.pipeline.dvc_cache import cache_folder, cached_object, md5_of, read_listing
from components.provenance.row_ids import Link, row_links
from components.storage.files import atomic_writer, read_json, write_json

FOLDER = "var/lineage/ids"
LISTINGS = "var/lineage/folders"
FORMAT = 1
ROWS_A_BATCH = 20_000
IDS_A_QUESTION = 500
SCHEMA = "CREATE TABLE links (id TEXT NOT NULL, kind TEXT NOT NULL, own TEXT NOT NULL, PRIMARY KEY (id, kind, own)) WITHOUT ROWID"


class IdIndex:
    """Answers which rows of a data version carry an id; makes what is missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[str] = []  # paths whose index this object made
        self.mended: list[str] = []  # … because it was damaged
        self._cache = cache_folder(root)
        self._open: dict[tuple[str, str], sqlite3.Connection | str] = {}
        self._folders: dict[str, dict[str, str] | None] = {}

    def files(self, path: str, md5: str) -> dict[str, str] | None:
        """Return {path: md5} of the files of a data version; None where a folder's listing is nowhere to be found."""
        if not md5.endswith(".dir"):
            return {path: md5}
        if md5 not in self._folders:
            self._folders[md5] = self._listing(md5)
        listing = self._folders[md5]
        return None if listing is None else {f"{path}/{name}": digest for name, digest in sorted(listing.items())}

    def find(self, path: str, md5: str, ids: Iterable[str]) -> list[Link]:
        """Return the links of a file's version that name one of the ids.

        Raises:
            StorageError: there is neither an index nor the data version to make it from; says what to do.
        """
        connection = self._connection(path, md5)
        wanted, found = sorted(set(ids)), []
        for start in range(0, len(wanted), IDS_A_QUESTION):
            part = wanted[start : start + IDS_A_QUESTION]
            marks = ",".join("?" * len(part))
            found += [Link(*row) for row in connection.execute(f"SELECT id, kind, own FROM links WHERE id IN ({marks}) ORDER BY id, kind, own", part)]
        return found

    def count(self, path: str, md5: str) -> int:
        """Return how many rows a file's version has."""
        self._connection(path, md5)
        return int(read_json(_seal(self._target(path, md5)))["rows"])

    def can_read(self, path: str, md5: str) -> bool:
        """Say whether a file's version can be asked."""
        try:
            self._connection(path, md5)
        except StorageError:
            return False
        return True

    def close(self) -> None:
        """Close every file."""
        for connection in self._open.values():
            if isinstance(connection, sqlite3.Connection):
                connection.close()
        self._open = {}

    def _connection(self, path: str, md5: str) -> sqlite3.Connection:
        key = (path, md5)
        if key not in self._open:
            try:
                self._open[key] = self._opened(path, md5)
            except StorageError as error:
                self._open[key] = str(error)
        found = self._open[key]
        if isinstance(found, str):
            raise StorageError(found)
        return found

    def _opened(self, path: str, md5: str) -> sqlite3.Connection:
        target = self._target(path, md5)
        if not is_sound(target):
            was_there = target.is_file()
            build_index(target, self._content(path, md5), path=path)
            (self.mended if was_there else self.made).append(path)
        return sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)

    def _content(self, path: str, md5: str) -> Path:
        """Return a file that holds the data version, from the cache or the project's folder, its bytes checked."""
        for candidate in (cached_object(self._cache, md5), self.root / path):
            if candidate.is_file() and md5_of(candidate) == md5:
                return candidate
        raise StorageError(f"{path}: its version {md5} is neither in DVC's cache nor indexed; run `dvc pull` at the run's commit, then ask again")

    def _target(self, path: str, md5: str) -> Path:
        return _index_file(self.root, path, md5)

    def _listing(self, md5: str) -> dict[str, str] | None:
        kept = self.root / LISTINGS / f"{md5}.json"
        for candidate in (kept, cached_object(self._cache, md5)):
            if candidate.is_file() and (listing := read_listing(content := candidate.read_bytes(), md5)) is not None:
                if candidate is not kept:
                    with atomic_writer(kept, "wb") as stream:
                        stream.write(content)
                return listing
        return None


def index_files(root: Path, versions: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Path]]:
    """Yield (path in the project, index file or its seal) of every index there is of these file versions, given as (path, md5)."""
    for path, md5 in versions:
        target = _index_file(root, path, md5)
        yield from ((path, file) for file in (target, _seal(target)) if file.is_file())


def is_sound(target: Path) -> bool:
    """Say whether an index file is there, of this format, and has the bytes it was made with."""
    try:
        seal = read_json(_seal(target))
        return bool(seal["format"] == FORMAT and target.stat().st_size == seal["bytes"] and digest_file(target) == seal["sha256"])
    except (StorageError, OSError, KeyError, TypeError):
        return False


def build_index(target: Path, content: Path, *, path: str) -> int:
    """Index a JSON-lines file and return how many rows it has; the index appears whole, its seal last.

    Raises:
        StorageError: a line is not a JSON object, or the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with contextlib.closing(_new_database(temporary)) as connection:
            rows = _stage_links(connection, content, path=path)
            connection.execute("INSERT OR IGNORE INTO links SELECT id, kind, own FROM staging ORDER BY id, kind, own")
            connection.commit()
        _seal(target).unlink(missing_ok=True)
        os.replace(temporary, target)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{target}: the index of ids cannot be written ({error}); free the disk or mend the folder's rights, then ask again") from error
    finally:
        temporary.unlink(missing_ok=True)
    write_json(_seal(target), {"format": FORMAT, "path": path, "rows": rows, "bytes": target.stat().st_size, "sha256": digest_file(target)})
    return rows


def _new_database(path: Path) -> sqlite3.Connection:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; {SCHEMA}")
    connection.execute("CREATE TEMP TABLE staging (id TEXT, kind TEXT, own TEXT)")
    return connection


def _stage_links(connection: sqlite3.Connection, content: Path, *, path: str) -> int:
    batch: list[Link] = []
    number = 0
    for number, row in _rows(content, path):
        batch += row_links(path, row, number)
        if len(batch) >= ROWS_A_BATCH:
            connection.executemany("INSERT INTO staging VALUES (?, ?, ?)", batch)
            batch = []
    connection.executemany("INSERT INTO staging VALUES (?, ?, ?)", batch)
    return number


def _rows(content: Path, path: str) -> Iterator[tuple[int, dict[str, object]]]:
    with content.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise StorageError(f"{path}:{number}: not a JSON object, so its ids cannot be read; the stage that made it wrote other lines")
            yield number, row


def _index_file(root: Path, path: str, md5: str) -> Path:
    return root / FOLDER / f"{md5}-{digest_bytes(path.encode())[:8]}.db"


def _seal(target: Path) -> Path:
    return target.with_suffix(".json")
