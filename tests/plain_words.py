"""Which files below a folder hold some sentences, wherever they stand plainly: in a file's bytes, as JSON or HTML writes them, in the
cells of SQLite databases and Parquet tables (whose pages cut and pack them), in compressed files, and in git's objects.
"""

import gzip
import html
import io
import json
import sqlite3
import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

SQLITE, PARQUET, GZIP, ZIP = b"SQLite format 3\0", b"PAR1", b"\x1f\x8b", b"PK\x03\x04"
GIT = ".git"


def holders(folder: Path, sentences: Iterable[str]) -> dict[str, set[str]]:
    """Return {file: the sentences it holds}; all objects of git together stand under `.git`."""
    needles = [(form, sentence) for sentence in sentences for form in forms(sentence)]
    found: dict[str, set[str]] = {}
    for name, content in contents(folder):
        held = {sentence for form, sentence in needles if form in content}
        if held:
            found.setdefault(name, set()).update(held)
    return found


def forms(sentence: str) -> set[bytes]:
    """Return a sentence as text, JSON with and without escapes, and HTML have it."""
    return {text.encode() for text in (sentence, json.dumps(sentence)[1:-1], json.dumps(sentence, ensure_ascii=False)[1:-1], html.escape(sentence))}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each file's bytes, and what is in it once more where it packs or cuts its texts."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and GIT not in name.parts:
            raw = path.read_bytes()
            yield name.as_posix(), raw
            yield from ((name.as_posix(), content) for content in _within(path, raw))
    if (folder / GIT).exists():
        yield GIT, subprocess.run(["git", "cat-file", "--batch-all-objects", "--batch"], cwd=folder, capture_output=True, check=True).stdout


def _within(path: Path, raw: bytes) -> Iterator[bytes]:
    if raw.startswith(SQLITE):
        yield from _cells(path)
    elif raw.startswith(PARQUET):
        import pyarrow.parquet as pq

        for column in pq.read_table(path).columns:
            yield json.dumps(column.to_pylist(), ensure_ascii=False, default=str).encode()
    elif raw.startswith(GZIP):
        yield gzip.decompress(raw)
    elif raw.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            yield from (packed.read(item) for item in packed.namelist())


def _cells(path: Path) -> Iterator[bytes]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                yield b"\0".join(cell for cell in row if isinstance(cell, bytes))
    finally:
        connection.close()
