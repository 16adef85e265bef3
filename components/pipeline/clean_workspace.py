"""A work tree at a run's commit that holds nothing but what git has: no cache, no work, no outputs. Data are put in by digest."""

import shutil
from pathlib import Path

from components.errors import StorageError
from components.pipeline.data_digest import data_digest
from components.pipeline.dvc_cache import cache_folder, cached_object, md5_of, read_listing
from components.pipeline.locked_graph import MODELS, DataVersion
from components.pipeline.run_reference import head_commit
from components.pipeline.worktrees import add_worktree, remove_worktree
from components.settings.settings import load_settings
from components.storage.artifact_store import ModelReference, read_reference
from components.storage.files import atomic_folder, atomic_writer
from components.storage.store_address import open_store


def clean_workspace(root: Path, folder: Path, *, commit: str) -> bool:
    """Make a work tree of a commit; return whether it was there already, of this very commit (a run that was killed).

    Raises:
        StorageError: git refuses.
    """
    if folder.is_dir() and head_commit(folder) == commit:
        return True
    remove_worktree(root, folder)
    add_worktree(root, folder, commit=commit)
    return False


class LockedData:
    """Puts data versions, named by a dvc.lock, into a clean workspace: from the project's cache, its folder, or its store."""

    def __init__(self, root: Path, workspace: Path) -> None:
        self._root, self._workspace = root, workspace
        self._cache = cache_folder(root)
        self._store = open_store(root, load_settings(root / "params.yaml"))

    def stands(self, item: DataVersion) -> bool:
        """Say whether the workspace holds this very version."""
        return data_digest(self._workspace / item.path) == item.md5

    def missing(self, item: DataVersion) -> str | None:
        """Return a sentence where the version cannot be had, else None."""
        if not self.stands(item) and not self._is_in_folder(item) and self._cached(item) is None:
            return f"{item.path} ({item.md5}) is neither in DVC's cache nor in the folder"
        reference = self._reference(item)
        if reference is not None and not self._store.has(reference):
            return f"{item.path}: the store has no {reference.key}"
        return None

    def put(self, item: DataVersion) -> None:
        """Put a version into the workspace, its bytes checked; of a model also the model.

        Raises:
            StorageError: it cannot be had, or its bytes are damaged.
        """
        target, cached = self._workspace / item.path, self._cached(item)
        if not self.stands(item):
            if cached is None:
                cached = self._of_folder(item)
            _copy(cached, target, is_folder=item.md5.endswith(".dir"))
            if not self.stands(item):
                raise StorageError(f"{item.path}: the bytes found are not those of {item.md5} (damaged); run `dvc pull` at the run's commit, then run again")
        reference = self._reference(item)
        if reference is not None:
            store = open_store(self._workspace, load_settings(self._workspace / "params.yaml"))
            if not store.has(reference):
                store.publish(self._store.fetch(reference), parent=reference.parent)

    def _is_in_folder(self, item: DataVersion) -> bool:
        return data_digest(self._root / item.path) == item.md5

    def _of_folder(self, item: DataVersion) -> dict[str, Path]:
        path = self._root / item.path
        if not self._is_in_folder(item):
            raise StorageError(f"{item.path}: its version {item.md5} cannot be had; run `dvc pull` at the run's commit, then run again")
        return {found.relative_to(path).as_posix(): found for found in path.rglob("*") if found.is_file()} if path.is_dir() else {"": path}

    def _cached(self, item: DataVersion) -> dict[str, Path] | None:
        """Return {relative path: object in the cache} of a version's files, or None where one is missing."""
        whole = cached_object(self._cache, item.md5)
        if not whole.is_file():
            return None
        if not item.md5.endswith(".dir"):
            return {"": whole} if md5_of(whole) == item.md5 else None
        listing = read_listing(whole.read_bytes(), item.md5)
        files = {name: cached_object(self._cache, md5) for name, md5 in (listing or {}).items()}
        return files if listing is not None and all(path.is_file() for path in files.values()) else None

    def _reference(self, item: DataVersion) -> ModelReference | None:
        """Return the model a version of models/<name>.json refers to."""
        if not item.path.startswith(MODELS):
            return None
        paths = (self._workspace / item.path, cached_object(self._cache, item.md5), self._root / item.path)
        return next((read_reference(path) for path in paths if path.is_file() and md5_of(path) == item.md5), None)


def _copy(files: dict[str, Path], target: Path, *, is_folder: bool) -> None:
    if not is_folder:
        with atomic_writer(target, "wb") as stream, files[""].open("rb") as source:
            shutil.copyfileobj(source, stream)
        return
    with atomic_folder(target) as temporary:
        for name, source in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, temporary / name)
