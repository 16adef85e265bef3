"""The store of model bytes: folders published whole under their digest, and verified when they are read.

A model is named everywhere by a small reference (`models/<name>.json`): store-relative key, digest, size and the
digest of the model it was trained from. No path, address, time or run id, so equal models have equal references
wherever they are kept; `uri` adds the store's address where a record must name the place as well.

`ArtifactStore` keeps them in a folder; `components/storage/bucket_store.py` in an object store. `open_store`
(`components/storage/store_address.py`) opens the one that `system.store` names.
"""

import os
import secrets
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.errors import StorageError
from components.lineage import digest_folder
from components.storage.files import atomic_folder, read_json, write_json

PROBE = "quarkmed"


class ModelReference(BaseModel):
    """What DVC tracks of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    digest: str
    size_bytes: int
    parent: str | None = None


class ArtifactStore:
    """A folder store. `root` holds `models/<digest>/`, each published by one rename."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, folder: Path, *, parent: str | None = None) -> ModelReference:
        """Copy a finished folder into the store and return its reference; publishing it again changes nothing."""
        digest = digest_folder(folder)
        key = f"models/{digest[:32]}"
        size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        target = self.root / key
        if not target.is_dir():
            with atomic_folder(target, keeps_first=True) as temporary:
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
                for path in temporary.rglob("*"):
                    if path.is_file():
                        with path.open("rb") as stream:
                            os.fsync(stream.fileno())
        return ModelReference(key=key, digest=digest, size_bytes=size_bytes, parent=parent)

    def fetch(self, reference: ModelReference) -> Path:
        """Return the local folder of a published model after checking its bytes against the reference.

        Raises:
            StorageError: the folder is missing, or its bytes are not those that were published.
        """
        folder = self.root / reference.key
        if not folder.is_dir():
            raise StorageError(
                f"{folder}: the store has no such model; its reference is stale: delete the models/*.json that names "
                f"{reference.key} and run `make retrain`"
            )
        if digest_folder(folder) != reference.digest:
            raise StorageError(f"{folder}: the bytes are not those that were published (damaged); delete the folder and run `make retrain`")
        return folder

    def has(self, reference: ModelReference) -> bool:
        """Say whether the store holds the referenced folder, without reading its bytes."""
        return (self.root / reference.key).is_dir()

    def remove(self, reference: ModelReference) -> bool:
        """Delete the referenced folder for good; return whether there was one."""
        folder = self.root / reference.key
        if not folder.is_dir():
            return False
        shutil.rmtree(folder)
        return True

    def uri(self, reference: ModelReference) -> str:
        """Return the address of the referenced folder."""
        return (self.root / reference.key).resolve().as_uri()

    def probe(self) -> str:
        """Write, read and delete a few bytes, and say so.

        Raises:
            StorageError: one of the three fails.
        """
        if not self.root.is_dir():
            return f"{self.root}: nothing stored yet"
        path = self.root / f".probe-{secrets.token_hex(8)}"
        write_json(path, PROBE)
        if read_json(path) != PROBE:
            raise StorageError(f"{self.root}: reads back other bytes than were written; check the disk")
        path.unlink()
        return f"{self.root}: written, read and deleted"


def read_reference(path: Path) -> ModelReference:
    """Read a `models/<name>.json`."""
    return ModelReference.model_validate(read_json(path))


def write_reference(path: Path, reference: ModelReference) -> None:
    """Write a `models/<name>.json` atomically."""
    write_json(path, reference.model_dump())
