"""Delete stored copies, each once, written down before and after; what is needed by then, by data without the ids, stays."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.pipeline.dvc_remotes import DvcRemotes
from components.provenance.executions import Reached
from components.provenance.purge_journal import Purge, PurgeJournal
from components.provenance.stored_copies import Copy
from components.registry.version_models import reference_of
from components.registry.version_reading import open_registry, registered_versions
from components.registry.versions import PURGED
from components.settings.settings import load_settings
from components.storage.store_address import open_store
from components.tracking.run_files import delete_files, has_runs, shown_files


def carry_out(root: Path, purge: Purge, journal: PurgeJournal, *, reached: Reached, report: Callable[[Copy, bool], None] = lambda copy, found: None) -> int:
    """Delete every copy of a purge that is left and return how many were there.

    Args:
        reached: what the ids reach now. A purge that was killed may list what is needed by now: a file made of them that a
            later run made again without them, byte for byte. Such a copy is passed over.
        report: told of each copy, and whether it was there.
    Raises:
        StorageError: a remote or a disk refuses; run again to go on.
    """
    deleting, count = _Deleting(root), 0
    for number in purge.left:
        copy = purge.copies[number]
        found = copy.digest not in reached.clean and deleting.delete(copy)
        journal.note_gone(purge, number, found=found)
        report(copy, found)
        count += found
    _mark_versions(root, purge)
    journal.end(purge)
    return count


class _Deleting:
    """Opens a remote, a store or MLflow when one is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._remotes: dict[str, DvcRemotes] = {}
        self._client: Any = None

    def delete(self, copy: Copy) -> bool:
        """Delete a copy; return whether it was there."""
        if copy.place == "DVC remote":
            folder, remote, md5 = copy.name.rsplit(":", 2)
            return self._of(folder).delete(remote, md5) if Path(folder).is_dir() else False
        if copy.place == "store":
            folder, _, _ = copy.name.rpartition(":")
            return Path(folder).is_dir() and open_store(Path(folder), load_settings(Path(folder) / "params.yaml")).remove(reference_of(copy.digest))
        if copy.place == "MLflow":
            return self._delete_from_mlflow(*copy.name.split(":", 1))
        return _delete_path(Path(copy.name))

    def _of(self, folder: str) -> DvcRemotes:
        if folder not in self._remotes:
            self._remotes[folder] = DvcRemotes(Path(folder))
        return self._remotes[folder]

    def _delete_from_mlflow(self, run: str, name: str) -> bool:
        self._client = self._client or open_registry(self._root)
        if all(shown != name for shown, _ in shown_files(self._client, run)):
            return False
        delete_files(self._client, run, name)
        return True


def _delete_path(path: Path) -> bool:
    """Delete a file or folder; DVC's cache keeps its files read-only, which does not keep them from being deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    is_there = path.is_symlink() or path.exists()
    path.unlink(missing_ok=True)
    return is_there


def _mark_versions(root: Path, purge: Purge) -> None:
    """Tag the registered versions whose model's bytes are away, so that nobody takes them for damaged."""
    digests = {copy.digest for copy in purge.copies if copy.place == "store"}
    if not digests or not has_runs(root):
        return
    client, settings = open_registry(root), load_settings(root / "params.yaml")
    store = open_store(root, settings)
    gone = {digest for digest in digests if not store.has(reference_of(digest))}
    for record in registered_versions(client, settings.system.model_name):
        if record.tags.get("quarkmed.model_digest") in gone:
            client.set_model_version_tag(record.model, record.version, PURGED, str(purge.number))
