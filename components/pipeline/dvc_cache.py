"""Where DVC's cache keeps a data version, found without importing DVC: settings in .dvc/config, objects under files/md5."""

import configparser
import hashlib
import json
from pathlib import Path

DEFAULT = ".dvc/cache"
CHUNK_BYTES = 1 << 20


def cache_folder(root: Path) -> Path:
    """Return the cache's folder: `cache.dir` of .dvc/config.local, else of .dvc/config, else DVC's default."""
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        path = root / ".dvc" / name
        if path.is_file():
            parser.read_string("\n".join(line.strip() for line in path.read_text(encoding="utf-8").splitlines()))
            if parser.has_option("cache", "dir"):
                return (root / ".dvc" / Path(parser["cache"]["dir"]).expanduser()).resolve()
    return root / DEFAULT


def cached_object(cache: Path, md5: str) -> Path:
    """Return where the cache keeps an object, whether or not it is there."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def read_listing(content: bytes, md5: str) -> dict[str, str] | None:
    """Return {relative path: md5} of a folder's version, or None where the bytes are not those of the digest `….dir`."""
    if f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir" != md5:
        return None
    return {item["relpath"]: item["md5"] for item in json.loads(content)}


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's bytes as DVC takes it."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
