"""Every stored copy of what some ids reached: caches, remotes, stores, folders, work, MLflow, and the index of ids.

The list is made by digest: what was followed (`executions.py`) names file versions and models, and each place that keeps
such bytes is asked for them. Work and MLflow are asked by the stage that made the bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from components.errors import DataError, StorageError
from components.pipeline.data_digest import data_digest
from components.pipeline.dvc_cache import cache_folder, cached_object, md5_of
from components.pipeline.dvc_remotes import DvcRemotes
from components.pipeline.graph import load_graph
from components.pipeline.running import FINISHED, WORK
from components.pipeline.stage_key import path_digest
from components.pipeline.worktrees import other_worktrees
from components.provenance.executions import Reached, Version
from components.provenance.id_index import index_files
from components.registry.version_models import reference_of
from components.registry.version_reading import open_registry
from components.settings.settings import load_settings
from components.storage.files import read_json
from components.storage.store_address import open_store
from components.tracking.run_files import has_runs, runs_of_stage, shown_files
from components.tracking.unreplayed import REPORT

Place = Literal["DVC cache", "DVC remote", "store", "folder", "work", "MLflow", "index of ids"]
ASIDE = (".*.part", "artifacts/.*.part", "models/.*.part")  # outputs that a killed stage left aside


@dataclass(frozen=True)
class Copy:
    """One stored copy: in which place, under which name there, its digest, and what it is a copy of."""

    place: Place
    name: str  # absolute path; of a remote "<folder>:<remote>:<md5>", of the store "<folder>:<key>", of MLflow "<run>:<name>"
    digest: str
    what: str
    bytes: int | None = None

    def row(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def stored_copies(root: Path, reached: Reached) -> tuple[list[Copy], list[str]]:
    """Return the copies that are there, in the order in which they are purged, and sentences about places that did not answer."""
    folders = [root, *(folder for folder in other_worktrees(root) if (folder / "params.yaml").is_file())]
    versions = list(reached.files)
    outputs = {path for row in load_graph(root).rows for path in row.outputs} | {item.path for stage in reached.stages for item in stage.outputs}
    made = [(path, md5) for path, md5 in versions if any(path == output or path.startswith(f"{output}/") for output in outputs)]
    unread: list[str] = []
    copies = [
        *_distinct(copy for folder in folders for copy in _guarded(partial(_remote_copies, folder, versions), unread)),
        *_distinct(copy for folder in folders for copy in _cached_copies(folder, versions)),
        *_distinct(copy for folder in folders for copy in _store_copies(folder, reached)),
        *_distinct(copy for folder in folders for copy in _folder_copies(folder, made)),
        *_distinct(copy for folder in folders for copy in _work_copies(folder, reached)),
        *_guarded(partial(_mlflow_copies, root, reached), unread),
        *(_file_copy("index of ids", path, name) for name, path in index_files(root, versions)),
    ]
    return copies, unread


def _remote_copies(root: Path, versions: Iterable[Version]) -> Iterator[Copy]:
    remotes, paths = DvcRemotes(root), {md5: path for path, md5 in versions}
    for remote in remotes.names:
        for md5 in remotes.held(remote, paths):
            yield Copy("DVC remote", f"{root.resolve()}:{remote}:{md5}", md5, paths[md5])


def _cached_copies(folder: Path, versions: Iterable[Version]) -> Iterator[Copy]:
    for path, md5 in versions:
        kept = cached_object(cache_folder(folder), md5)
        if kept.is_file():
            yield _file_copy("DVC cache", kept, path, digest=md5)


def _store_copies(folder: Path, reached: Reached) -> Iterator[Copy]:
    store = open_store(folder, load_settings(folder / "params.yaml"))
    for digest, names in reached.models.items():
        reference = reference_of(digest)
        if store.has(reference):
            yield Copy("store", f"{folder.resolve()}:{reference.key}", digest, f"model {', '.join(names)}")


def _folder_copies(folder: Path, made: Iterable[Version]) -> Iterator[Copy]:
    """Yield the outputs that have such bytes; what a stage was given, and did not make, is a person's own and not touched."""
    versions: dict[str, set[str]] = {}
    for path, md5 in made:
        versions.setdefault(path, set()).add(md5)
    for path, md5s in versions.items():
        if (folder / path).is_file() and (md5 := md5_of(folder / path)) in md5s:
            yield _file_copy("folder", folder / path, path, digest=md5)
    for pattern in ASIDE:
        for path in sorted(folder.glob(pattern)):
            yield _file_copy("folder", path, "an output a killed stage left aside")


def _work_copies(folder: Path, reached: Reached) -> Iterator[Copy]:
    """Yield the work folders of what was reached, and those of these stages that say not what they made (unfinished ones)."""
    outputs = [(stage.name, {item.path: item.md5 for item in stage.outputs}) for stage in reached.stages_of_its_own]
    for path in sorted((folder / WORK).glob("*/*/")):
        name = path.parent.name
        if any(name == stage for stage, _ in outputs) and _made_by(folder, path) in [*(made for stage, made in outputs if stage == name), None]:
            size = sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
            if size:
                yield Copy("work", str(path.resolve()), "", f"work of {name}", size)


def _made_by(folder: Path, work: Path) -> dict[str, str] | None:
    """Return {output: DVC digest} of a work folder's stage: from its report, else from the outputs that stand, where it made them; None where unknown."""
    try:
        return dict(read_json(work / REPORT)["outputs"])
    except (StorageError, KeyError, TypeError):
        pass
    try:
        ended = dict(read_json(work / FINISHED)["outputs"])
        stands = all(path_digest(folder, path, user=work.parent.name) == digest for path, digest in ended.items())
    except (StorageError, DataError, KeyError, TypeError):
        return None
    return {path: str(data_digest(folder / path)) for path in ended} if stands else None


def _mlflow_copies(root: Path, reached: Reached) -> Iterator[Copy]:
    if not has_runs(root):
        return
    client, seen = open_registry(root), set()
    for stage in reached.stages_of_its_own:
        for run in runs_of_stage(client, root, stage=stage.name, outputs={item.path: item.md5 for item in stage.outputs}):
            for name, size in shown_files(client, run) if run not in seen else ():
                yield Copy("MLflow", f"{run}:{name}", "", f"files of {stage.name}", size)
            seen.add(run)


def _file_copy(place: Place, path: Path, what: str, *, digest: str = "") -> Copy:
    size = path.stat().st_size if path.is_file() else None
    return Copy(place, str(path.resolve()), digest, what, size)


def _guarded(look: Callable[[], Iterable[Copy]], unread: list[str]) -> list[Copy]:
    """Return what a place holds; where it does not answer, note that."""
    try:
        return list(look())
    except StorageError as error:
        unread.append(str(error))
        return []


def _distinct(copies: Iterable[Copy]) -> list[Copy]:
    """Return each copy once: work trees may share a cache or a store by a link."""
    return list({(copy.place, copy.name): copy for copy in copies}.values())
