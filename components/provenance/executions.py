"""Follow ids through every stage that was ever committed, of whatever run, to the files and models that must be purged.

`who-used` asks one lineage after another; a purge must also reach what no lineage names, an attempt that was overtaken.
So stages are taken as they were executed (name, inputs, outputs), makers before users, and what is known of the ids goes
on from file version to file version. A file without rows, made by a stage that used such rows, counts as made of them;
so does all that was made with a model that was trained on them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import StorageError
from components.pipeline.dvc_cache import cache_folder, cached_object
from components.pipeline.graph import overlaps
from components.pipeline.locked_graph import MODELS, DataVersion, LockedStage
from components.pipeline.run_cache import committed_stages
from components.provenance.id_index import IdIndex
from components.provenance.kept_lineage import KeptLineages, parse_reference
from components.provenance.row_ids import is_line
from components.provenance.sightings import ROWS, is_data
from components.provenance.uses import TELLING, USES, use_of
from components.storage.artifact_store import ModelReference

Version = tuple[str, str]  # path and DVC md5 of a file
TRAINED = ("trained", "perhaps", "unknown")


@dataclass
class Reached:
    """What rows with the ids, or made of such rows, have reached."""

    files: dict[Version, bool] = field(default_factory=dict)  # True: holds such rows; False: made of them
    models: dict[str, list[str]] = field(default_factory=dict)  # digest → names, of models trained on them or from one that was
    influenced: dict[str, list[str]] = field(default_factory=dict)  # … of models only chosen, shaped or rewarded by them
    stages: list[LockedStage] = field(default_factory=list)  # executions that made or used them
    clean: set[str] = field(default_factory=set)  # md5s and digests that executions made which had nothing to do with the ids
    unread: list[str] = field(default_factory=list)  # sentences about versions nobody can read

    @property
    def stages_of_its_own(self) -> list[LockedStage]:
        """The executions whose outputs no clean one made as well."""
        return [stage for stage in self.stages if not all(item.md5 in self.clean for item in stage.outputs)]


def all_executions(root: Path, lineages: KeptLineages) -> list[LockedStage]:
    """Return each executed stage once, makers before users: of the kept runs, of the present dvc.lock and of DVC's run cache."""
    graphs = [lineages.kept(kept).graph for kept in lineages.runs.values()]
    present = lineages.present()
    found = [stage for graph in graphs for stage in graph.stages] + list(present.graph.stages if present else ()) + committed_stages(root)
    once = {(stage.name, stage.inputs, stage.outputs): stage for stage in found}
    return _in_order(list(once.values()), [graph.ordered for graph in graphs] + ([present.graph.ordered] if present else []))


def reached_by(root: Path, ids: Iterable[str]) -> Reached:
    """Follow ids, and all rows made of theirs, to the file versions and models they reached.

    What an execution that had nothing to do with them made as well, byte for byte, is not among them.
    """
    lineages, index = KeptLineages(root), IdIndex(root)
    following = _Following(frozenset(ids), index, _References(root, lineages))
    try:
        for stage in all_executions(root, lineages):
            following.take(stage)
    finally:
        index.close()
    return following.reached()


class _References:
    """The content of models/*.json by DVC md5, from the cache, the kept runs or the folder."""

    def __init__(self, root: Path, lineages: KeptLineages) -> None:
        self._cache = cache_folder(root)
        self._known: dict[Version, ModelReference] = {}
        every = [lineages.kept(kept) for kept in lineages.runs.values()]
        present = lineages.present()
        for lineage in (*every, *([present] if present else [])):
            for path, version in lineage.graph.outputs.items():
                if path in lineage.models:
                    self._known[path, version.md5] = lineage.models[path]

    def of(self, item: DataVersion) -> ModelReference | None:
        """Return the reference a version of models/<name>.json holds; None of another path, or where it is nowhere to be found."""
        if not item.path.startswith(MODELS):
            return None
        key = (item.path, item.md5)
        kept = cached_object(self._cache, item.md5)
        if key not in self._known and kept.is_file() and (read := parse_reference(kept.read_text(encoding="utf-8"))) is not None:
            self._known[key] = read
        return self._known.get(key)


class _Following:
    """What is known after the executions taken so far; those that made an execution's inputs must be taken before it."""

    def __init__(self, asked: frozenset[str], index: IdIndex, references: _References) -> None:
        self._asked, self._index, self._references = asked, index, references
        self._ids: dict[Version, set[str]] = {}  # of the rows that carry the ids, by file version that holds some
        self._seen: set[Version] = set()
        self._made: set[str] = set()  # paths of outputs
        self._clean: set[str] = set()  # md5s and models' digests
        self._found = Reached()

    def take(self, stage: LockedStage) -> None:
        """Take one execution into account."""
        before = len(self._found.unread)
        outputs = [version for item in stage.outputs for version in self._files(item, is_made=True)]
        inputs = [version for item in stage.inputs if is_data(item) for version in self._files(item, is_made=any(overlaps(path, item.path) for path in self._made))]
        self._made.update(item.path for item in stage.outputs)
        carried = self._asked.union(*(self._ids.get(version, ()) for version in inputs))
        for version in inputs + outputs:
            if version in outputs or version not in self._seen:
                carried |= self._look_up(version, carried)
        told = {(stage.name, path) for path, md5 in outputs if (stage.name, path) in TELLING and self._index.can_read(path, md5)}
        effects = {use_of(stage.name, version[0], told=told).effect for version in {*inputs, *outputs} if self._is_used(stage, version)} - {"none"}
        is_read = len(self._found.unread) == before
        read = {reference.digest for item in stage.inputs if (reference := self._references.of(item)) is not None}
        samples = bool(read & set(self._found.models))  # a model that was trained on it may have repeated it
        if samples or effects or any(version in self._ids for version in outputs):
            self._found.stages.append(stage)
            for version in outputs:
                if samples or not version[0].endswith(ROWS):
                    self._found.files.setdefault(version, False)
        elif is_read:
            self._clean.update(md5 for _, md5 in outputs)
            self._clean.update(item.md5 for item in stage.outputs)
        self._take_models(stage, effects, read, is_read=is_read)

    def reached(self) -> Reached:
        """Return what was found, without what is as well the result of executions that are clean."""
        found, clean = self._found, self._clean
        found.clean = clean
        found.files = {version: holds for version, holds in found.files.items() if holds or version[1] not in clean}
        found.models = {digest: names for digest, names in found.models.items() if digest not in clean}
        found.unread = list(dict.fromkeys(found.unread))
        return found

    def _take_models(self, stage: LockedStage, effects: set[str], read: set[str], *, is_read: bool) -> None:
        for item in stage.outputs:
            reference = self._references.of(item)
            if reference is None:
                continue
            name = item.path.removeprefix(MODELS).removesuffix(".json")
            if effects & set(TRAINED) or reference.parent in self._found.models:
                _note(self._found.models, reference.digest, name)
                continue
            if is_read:
                self._clean.add(reference.digest)
            if effects or read & {*self._found.models, *self._found.influenced}:
                _note(self._found.influenced, reference.digest, name)

    def _is_used(self, stage: LockedStage, version: Version) -> bool:
        """Say whether the stage read, or itself trained on, a version with rows of the ids."""
        is_own = any(overlaps(item.path, version[0]) for item in stage.outputs)
        return version in self._ids and (not is_own or (stage.name, version[0]) in USES)

    def _look_up(self, version: Version, carried: frozenset[str]) -> set[str]:
        """Note whether a version holds rows with one of the ids; return the rows' own ids."""
        self._seen.add(version)
        if not version[0].endswith(ROWS):
            return set()
        try:
            links = self._index.find(*version, carried)
        except StorageError as error:
            self._found.unread.append(str(error))
            return set()
        if not links:
            return set()
        self._found.files[version] = True
        own = {link.own or link.id for link in links if link.kind != "rejected"}
        self._ids.setdefault(version, set()).update(name for name in own if not is_line(name))
        return self._ids[version]

    def _files(self, item: DataVersion, *, is_made: bool) -> list[Version]:
        """Return the files of a version; a folder no stage made is a person's own, which DVC's cache need not list."""
        if item.path.startswith(MODELS):
            return []
        files = self._index.files(item.path, item.md5)
        if files is None and is_made:
            self._found.unread.append(f"{item.path}: the files of its version {item.md5} are unknown; run `dvc pull` at the run's commit, then ask again")
        return list((files or {}).items())


def _note(names: dict[str, list[str]], digest: str, name: str) -> None:
    if name not in names.setdefault(digest, []):
        names[digest].append(name)


def _in_order(executions: list[LockedStage], graphs: Iterable[Iterable[LockedStage]]) -> list[LockedStage]:
    """Order by how far down a stage stands in the graphs known; of equal stages, by name and bytes."""
    depth: dict[str, int] = {}
    for ordered in graphs:
        for number, stage in enumerate(ordered):
            depth[stage.name] = max(depth.get(stage.name, 0), number)
    return sorted(executions, key=lambda stage: (depth.get(stage.name, len(depth)), stage.name, [item.md5 for item in stage.outputs]))
