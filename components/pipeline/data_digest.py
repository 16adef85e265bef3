"""DVC's digest of a file or folder, taken without DVC: the MD5 of the bytes, or `….dir` of the sorted listing of a folder.

Departure: of .dvcignore only the patterns that stage keys leave out too (compiled and half-written files); a test compares
the digests with DVC's own.
"""

import hashlib
import json
from pathlib import Path

from components.pipeline.dvc_cache import md5_of
from components.pipeline.stage_key import is_seen


def folder_listing(folder: Path) -> dict[str, str]:
    """Return {relative path: md5} of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_seen(path))
    return {path.relative_to(folder).as_posix(): md5_of(path) for path in files}


def data_digest(path: Path) -> str | None:
    """Return the digest that dvc.lock would have of a path; None where it does not exist."""
    if path.is_dir():
        listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(folder_listing(path).items())]
        return f"{hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest()}.dir"
    return md5_of(path) if path.is_file() else None
