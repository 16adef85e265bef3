"""Digests: how a file, a folder or a value is named by its content (SHA-256, hexadecimal)."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def digest_bytes(content: bytes) -> str:
    """Return the SHA-256 of the bytes, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_value(value: Any) -> str:
    """Return the digest of a JSON-serialisable value, independent of key order."""
    return digest_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())


def digest_file(path: Path) -> str:
    """Return the digest of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_folder(folder: Path) -> str:
    """Return the digest of a folder's files."""
    return digest_listing((name, digest_file(path)) for name, path in folder_files(folder))


def folder_files(folder: Path) -> list[tuple[str, Path]]:
    """Return (relative path, path) of a folder's files, sorted."""
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(path for path in folder.rglob("*") if path.is_file())]


def digest_listing(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the digest of the folder whose files have these relative paths and digests, in the order of `folder_files`."""
    return digest_value([list(pair) for pair in pairs])


def stable_fraction(*parts: str) -> float:
    """Map strings to a number in [0, 1) that never changes between runs, machines or processing orders."""
    return int(digest_bytes("\x1f".join(parts).encode())[:13], 16) / 16**13
