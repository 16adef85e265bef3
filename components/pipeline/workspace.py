"""The one door to DVC: is a stage stale and why, restore it from the run cache, commit what it made.

Facts relied on (DVC 3.67, tests/test_dependency_contracts.py): `stage.status()` names changed deps, parameters and
outputs; `stage.save/commit/dump` writes the dvc.lock entry of a stage DVC never ran; `stage_cache.restore` checks out
what any earlier run with the same inputs made.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import DataError, SettingsError, StorageError, UserError
from components.pipeline.graph import StageGraph, StageRow, load_graph
from components.pipeline.named_folders import add_dependencies, named_folders
from components.pipeline.outputs import replaced_outputs
from components.pipeline.running import model_references
from components.pipeline.staleness import explain_status
from components.settings.settings import Settings
from components.storage.store_address import open_store

LOCK_FILE = "dvc.lock"
LOCK_COPY = "var/dvc.lock.last"


class _NothingStored(Exception):
    """The run cache holds no run of these inputs, or not all of it."""


class Workspace:
    """A project's folder as DVC sees it. One writer at a time; readers wait for its short locks."""

    def __init__(self, root: Path, settings: Settings) -> None:
        """Open DVC's repository at `root`; importing DVC takes most of a second.

        Raises:
            SettingsError: there is no `.dvc` here, or dvc.yaml cannot be read.
        """
        self.root = root
        self.settings = settings
        self.graph: StageGraph = load_graph(root)
        os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root / "var" / "dvc-site"))
        os.environ.setdefault("DVC_NO_ANALYTICS", "1")
        _mend_lock_file(root)
        self._repo = _open_repo(root)

    def reasons(self, name: str) -> list[str]:
        """Return why a stage is stale, in plain words; empty where it is not."""
        with self._stage(name) as stage:
            reasons = explain_status(stage, stage.status().get(stage.addressing, []))
        return reasons or self._missing_models(self.graph.row(name))

    def restore(self, name: str) -> dict[str, str] | None:
        """Check out what an earlier run with these very inputs made and return {output: DVC digest}.

        None, and the outputs as they were, where there is no such run or the store no longer holds its models.
        """
        row = self.graph.row(name)
        try:
            with replaced_outputs(self.root, row):
                self._check_out(name)
        except _NothingStored:
            return None
        return self.commit(name, self.input_hashes(name))

    def input_hashes(self, name: str) -> dict[str, Any]:
        """Return DVC's hashes of a stage's inputs and parameters as they are now, to be handed to `commit`.

        Raises:
            DataError: an input does not exist.
        """
        from dvc.dependency.base import DependencyDoesNotExistError

        with self._stage(name) as stage:
            try:
                stage.save_deps()
            except DependencyDoesNotExistError as error:
                raise DataError(f"stage {name} reads a path that does not exist ({error}); mend its row of dvc.yaml or run `make retrain`") from None
            return _dependency_hashes(stage)

    def commit(self, name: str, taken: dict[str, Any]) -> dict[str, str]:
        """Record a stage's outputs as the result of the inputs that were taken before it ran; return {output: DVC digest}.

        Raises:
            UserError: an input changed meanwhile; nothing is recorded, the stage stays stale.
            StorageError: an output is missing or the cache cannot be written.
        """
        from dvc.exceptions import DvcException

        with self._stage(name) as stage:
            try:
                stage.save(run_cache=False)
                changed = sorted(path for path, value in _dependency_hashes(stage).items() if taken.get(path) != value)
                if changed:
                    raise UserError(
                        f"{', '.join(changed)} changed while stage {name} ran, so its result belongs to neither version and was not recorded; "
                        f"run `make retrain` again"
                    )
                stage.commit()
                self._repo.stage_cache.save(stage)
                stage.dump(update_pipeline=False)
                digests = {str(item.def_path): str(item.hash_info.value) for item in stage.outs}
            except (DvcException, OSError) as error:
                raise StorageError(f"stage {name}: its outputs could not be recorded ({error}); free the disk or mend var/, then run again") from error
        _copy_lock_file(self.root)
        return digests

    def data_digests(self) -> dict[str, str]:
        """Return {path: DVC digest} of the data and model references the last run read and made, from dvc.lock; all but code."""
        import yaml

        path = self.root / LOCK_FILE
        stages = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {}) if path.is_file() else {}
        items = [item for row in stages.values() for kind in ("deps", "outs") for item in row.get(kind, [])]
        return {item["path"]: str(item.get("md5", "")) for item in items if not item["path"].startswith("components/")}

    def _check_out(self, name: str) -> None:
        from dvc.exceptions import DvcException

        with self._stage(name) as stage:
            try:
                self._repo.stage_cache.restore(stage)
            except (DvcException, FileNotFoundError):
                raise _NothingStored from None
        if self._missing_models(self.graph.row(name)):
            raise _NothingStored

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[Any]:
        """Load a stage afresh under DVC's lock, from the project's folder: DVC's run cache reads "dvc.yaml" relative to it."""
        from dvc.exceptions import DvcException
        from dvc.repo import lock_repo

        try:
            with contextlib.chdir(self.root), lock_repo(self._repo):
                stage = self._repo.stage.load_one(path=str(self.root / "dvc.yaml"), name=name)
                add_dependencies(stage, self.root, named_folders(self.root, self.graph.row(name), self.settings))
                yield stage
        except DvcException as error:
            raise SettingsError(f"DVC refuses stage {name}: {error}") from error
        finally:
            self._repo._reset()

    def _missing_models(self, row: StageRow) -> list[str]:
        store = open_store(self.root, self.settings)
        return [f"the store no longer holds the model of {path}" for path, item in model_references(self.root, row).items() if not store.has(item)]


def _open_repo(root: Path) -> Any:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    logging.getLogger("dvc_data").setLevel(logging.CRITICAL)
    logging.getLogger("dvc_objects").setLevel(logging.CRITICAL)
    try:
        return Repo(str(root), _wait_for_lock=True)
    except (DvcException, SCMError) as error:
        raise SettingsError(f"{root}: not a DVC project ({error}); run from the project's folder, a git clone") from None


def _dependency_hashes(stage: Any) -> dict[str, Any]:
    """Return {path: hash} of the files and folders and {"params.yaml": values} of the parameters."""
    return {str(item.def_path): item.hash_info.value for item in stage.deps}


def _mend_lock_file(root: Path) -> None:
    """Put the last whole dvc.lock back where a kill in mid-write left a torn one; what is lost the run cache restores."""
    import yaml

    path, copy = root / LOCK_FILE, root / LOCK_COPY
    if not path.is_file():
        return
    try:
        if isinstance(yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), dict):
            return
    except (yaml.YAMLError, UnicodeDecodeError):
        pass
    if copy.is_file():
        shutil.copyfile(copy, path)
    else:
        path.unlink()


def _copy_lock_file(root: Path) -> None:
    (root / LOCK_COPY).parent.mkdir(parents=True, exist_ok=True)
    temporary = (root / LOCK_COPY).with_suffix(".part")
    shutil.copyfile(root / LOCK_FILE, temporary)
    os.replace(temporary, root / LOCK_COPY)
