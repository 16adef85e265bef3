"""The artifact store in an object store: each file an object, a manifest written last, a verified cache on this disk.

    <prefix>/models/<key>/<path>      the model's files
    <prefix>/models/<key>.json        {"digest", "files": [{"path", "sha256", "bytes"}]}: written when all files stand

A model without a manifest does not exist, so nothing half-written is ever seen, and an upload that was killed is taken
up again: files that stand are left alone. The manifest's own list gives the model's digest, so it is checked against
the reference before any byte is read, and every file is checked against it.
"""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.lineage import digest_file, digest_listing, folder_files
from components.storage.artifact_store import PROBE, ArtifactStore, ModelReference
from components.storage.bucket import Bucket, UnsoundObject
from components.storage.files import atomic_folder, exclusive


class BucketStore(ArtifactStore):
    """Models in a bucket. `root` is the cache: a folder store whose every read is verified, and that may be deleted at any time."""

    def __init__(self, bucket: Bucket, *, cache: Path) -> None:
        super().__init__(cache)
        self.bucket = bucket

    def publish(self, folder: Path, *, parent: str | None = None) -> ModelReference:
        """Store a finished folder and return its reference; publishing it again changes nothing.

        Raises:
            StorageError: the object store refuses or does not answer; what was sent is taken up by the next try.
        """
        reference = super().publish(folder, parent=parent)
        if self.has(reference):
            return reference
        cached = self.root / reference.key
        files = _listing(cached)
        if _digest(files) != reference.digest:
            super().remove(reference)
            super().publish(folder, parent=parent)
            files = _listing(cached)
        for item in files:
            self.bucket.put_file(cached / item["path"], f"{reference.key}/{item['path']}", sha256=item["sha256"])
        self.bucket.put_once(_manifest(reference), json.dumps({"digest": reference.digest, "files": files}, indent=1).encode())
        return reference

    def fetch(self, reference: ModelReference) -> Path:
        """Return the local folder of a published model, from the cache where its bytes are right, else from the bucket.

        Raises:
            StorageError: the model is missing, its bytes are not those that were published, or the store does not answer.
        """
        cached = self.root / reference.key
        with exclusive(cached.with_suffix(".lock")):  # of several processes that want it, one reads the bucket
            if super().has(reference):
                try:
                    return super().fetch(reference)
                except StorageError:
                    super().remove(reference)
            files = self._files(reference)
            with atomic_folder(cached) as temporary, ThreadPoolExecutor(self.bucket.settings.connections) as pool:
                list(pool.map(lambda item: self._get(reference, item, temporary), files))
        return cached

    def has(self, reference: ModelReference) -> bool:
        """Say whether the bucket holds the whole model, without reading its bytes."""
        return self.bucket.holds(_manifest(reference))

    def remove(self, reference: ModelReference) -> bool:
        """Delete the model from the bucket, its manifest first, and from the cache; return whether there was anything."""
        found = [key for key in (_manifest(reference), *self.bucket.keys(f"{reference.key}/")) if self.bucket.holds(key)]
        for key in found:
            self.bucket.delete(key)
        return super().remove(reference) or bool(found)

    def uri(self, reference: ModelReference) -> str:
        """Return the address of the model."""
        return f"{self.bucket.address}/{reference.key}"

    def probe(self) -> str:
        """Write, read and delete a few bytes, and say so, and whether the server refuses overwriting.

        Raises:
            StorageError: one of the three fails.
        """
        key, content = f".probe-{secrets.token_hex(8)}", PROBE.encode()
        self.bucket.put_once(key, content)
        if self.bucket.read(key) != content:
            raise StorageError(f"{self.bucket.address}: reads back other bytes than were written; look at the object store's log")
        self.bucket.delete(key)
        way = "conditional writes honoured" if self.bucket.refuses_overwriting else "conditional writes not honoured, so it is asked before each"
        return f"{self.bucket.address}: written, read and deleted; {way}"

    def _files(self, reference: ModelReference) -> list[dict[str, Any]]:
        """Return the manifest's list of files, checked against the reference."""
        content = self.bucket.read(_manifest(reference))
        if content is None:
            raise StorageError(
                f"{self.uri(reference)}: the store has no such model; its reference is stale: delete the models/*.json that names "
                f"{reference.key} and run `make retrain`"
            )
        try:
            files: list[dict[str, Any]] = json.loads(content)["files"]
            if _digest(files) == reference.digest:
                return files
        except (ValueError, KeyError, TypeError):
            pass
        raise StorageError(f"{self.uri(reference)}.json: the list of files is not that of the model (damaged); {self._mending(reference)}")

    def _get(self, reference: ModelReference, item: dict[str, Any], folder: Path) -> None:
        target = folder / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.bucket.get_file(f"{reference.key}/{item['path']}", target, size=int(item["bytes"]), sha256=str(item["sha256"]))
        except UnsoundObject as error:
            raise UnsoundObject(f"{error}; {self._mending(reference)}") from None

    def _mending(self, reference: ModelReference) -> str:
        return f"delete {self.uri(reference)}.json and what is below {self.uri(reference)}/, then run `make retrain`"


def _manifest(reference: ModelReference) -> str:
    return f"{reference.key}.json"


def _listing(folder: Path) -> list[dict[str, Any]]:
    return [{"path": name, "sha256": digest_file(path), "bytes": path.stat().st_size} for name, path in folder_files(folder)]


def _digest(files: list[dict[str, Any]]) -> str:
    """Return the digest of the folder that holds these files."""
    return digest_listing((item["path"], item["sha256"]) for item in files)
