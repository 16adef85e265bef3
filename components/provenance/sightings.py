"""Follow an id, or a data version, through one lineage: which rows come of it, and which model saw them in which stage.

Files are taken in the order they were made. An id asked about is looked up in each; a row that carries a known id is
itself known in all files made later, so a sample leads back to its case, its passages' documents and their records.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from components.errors import StorageError
from components.layout import WITHDRAWN
from components.pipeline.graph import overlaps
from components.pipeline.locked_graph import MODELS, DataVersion, LockedGraph, LockedStage
from components.provenance.id_index import IdIndex
from components.provenance.row_ids import is_line
from components.provenance.uses import GAPS, SEEN, TELLING, UNKNOWN, USES, Effect, use_of

ROWS = ".jsonl"  # files whose lines carry ids
SHOWN_ROWS = 5
GIVEN = "(given)"  # maker of what no stage made, or of an older version than the one that stands
MEASURING = "evaluate"  # comes after the candidate: measures it, makes nothing of it


@dataclass(frozen=True)
class DataFile:
    """A file of a lineage: its path, version, the stage that made it, and the stages that read it."""

    path: str
    md5: str
    maker: str
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Stand:
    """Rows of a file that carry the id, or come of it; `kinds` says how, `own` are some of their own ids."""

    path: str
    md5: str
    maker: str
    rows: int
    kinds: tuple[str, ...]
    own: tuple[str, ...]


@dataclass(frozen=True)
class Sighting:
    """A stage used such rows; `models` are those it made."""

    stage: str
    models: tuple[str, ...]
    effect: Effect
    words: str
    path: str
    md5: str
    rows: int


@dataclass
class Trace:
    """What is known of an id in one lineage."""

    stands: list[Stand] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    rejected_by: list[str] = field(default_factory=list)
    cannot_tell: list[str] = field(default_factory=list)

    @property
    def is_found(self) -> bool:
        """Say whether any row carries it."""
        return bool(self.stands or self.rejected_by)


def lineage_stages(graph: LockedGraph, reference: str) -> tuple[LockedStage, ...]:
    """Return the stages a candidate comes of, in order, and the one that measured it; all stages where it is not made yet."""
    above = graph.upstream(reference) or graph.ordered
    return (*above, *(stage for stage in graph.stages if stage.name == MEASURING and stage not in above))


def is_data(item: DataVersion) -> bool:
    """Say whether a path is data, whose rows may name an id: no code, no model, and not the list of withdrawn ids itself."""
    return not item.path.startswith(MODELS) and not item.is_code and item.path != WITHDRAWN


def data_files(stages: Iterable[LockedStage], index: IdIndex) -> tuple[list[DataFile], list[str]]:
    """Return the files with rows that the stages were given and made, makers first, and sentences about folders nobody can list."""
    stages, unlisted = tuple(stages), []
    read: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        for item in stage.inputs:
            for path, md5 in (index.files(item.path, item.md5) or {}).items() if is_data(item) else ():
                read.setdefault((path, md5), []).append(stage.name)
    made = []
    for stage in stages:
        for item in stage.outputs:
            files = index.files(item.path, item.md5)
            if files is None:
                unlisted.append(f"{item.path}: the files of its version {item.md5} (made by {stage.name}) are unknown; run `dvc pull` at the run's commit, then ask again")
            made += [DataFile(path, md5, stage.name, _readers(path, stage.name, read.get((path, md5), []))) for path, md5 in (files or {}).items() if path.endswith(ROWS)]
    present = {(file.path, file.md5) for file in made}
    given = [DataFile(path, md5, GIVEN, _readers(path, GIVEN, names)) for (path, md5), names in read.items() if path.endswith(ROWS) and (path, md5) not in present]
    return [*given, *made], unlisted


def trace_id(identifier: str, stages: Iterable[LockedStage], index: IdIndex) -> Trace:
    """Follow an id through a lineage."""
    stages, trace = tuple(stages), Trace()
    files, trace.cannot_tell = data_files(stages, index)
    known, told = {identifier}, _told(files, index)
    for file in files:
        try:
            links = index.find(file.path, file.md5, known)
        except StorageError as error:
            trace.cannot_tell.append(str(error))
            continue
        trace.rejected_by += [link.own for link in links if link.kind == "rejected" and link.id == identifier]
        rows = {link.own or link.id: link for link in links if link.kind != "rejected"}
        if rows:
            kinds = tuple(sorted({link.kind for link in links if link.kind != "rejected"}))
            _note(trace, stages, Stand(file.path, file.md5, file.maker, len(rows), kinds, tuple(sorted(rows)[:SHOWN_ROWS])), file.readers, told=told)
            known |= {own for own in rows if not is_line(own)}
    return trace


def trace_version(md5: str, stages: Iterable[LockedStage], index: IdIndex) -> Trace:
    """Follow a data version (a file's, or a folder's with all its files) through a lineage, and all that was made from it."""
    stages, trace = tuple(stages), Trace()
    files, _ = data_files(stages, index)
    told = _told(files, index)
    items = {item.path for stage in stages for item in (*stage.outputs, *stage.inputs) if item.md5 == md5}
    inside = {pair for path in items for pair in (index.files(path, md5) or {}).items()}
    whole = {(file.path, file.md5) for file in files if file.md5 == md5 or (file.path, file.md5) in inside}
    derived = _stages_after(whole | {(path, md5) for path in items}, stages, index)
    for file in files:
        if (file.path, file.md5) in whole or file.maker in derived:
            kind = "itself" if (file.path, file.md5) in whole else "made from it"
            _note(trace, stages, Stand(file.path, file.md5, file.maker, _rows(trace, file, index), (kind,), ()), file.readers, told=told)
    for path in sorted(path for path in items if not any(overlaps(path, stand.path) for stand in trace.stands)):
        _note_reading(trace, stages, path, md5)
    return trace


def _rows(trace: Trace, file: DataFile, index: IdIndex) -> int:
    try:
        return index.count(file.path, file.md5)
    except StorageError as error:
        trace.cannot_tell.append(str(error))
        return 0


def _stages_after(start: set[tuple[str, str]], stages: Iterable[LockedStage], index: IdIndex) -> frozenset[str]:
    """Return the stages that read one of the versions, or data made by such a stage; models are inherited, not read."""
    versions, after = set(start), set()
    for stage in stages:
        read = {
            pair for item in stage.inputs if not item.path.startswith(MODELS) for pair in _expanded(item.path, item.md5, index)
            if USES.get((stage.name, pair[0]), UNKNOWN).effect != "none"
        }  # fmt: skip
        if read & versions:
            after.add(stage.name)
            versions |= {pair for item in stage.outputs for pair in _expanded(item.path, item.md5, index)}
    return frozenset(after)


def _expanded(path: str, md5: str, index: IdIndex) -> tuple[tuple[str, str], ...]:
    """Return a version and, of a folder, its files."""
    return ((path, md5), *(index.files(path, md5) or {}).items())


def _readers(path: str, maker: str, readers: Iterable[str]) -> tuple[str, ...]:
    """Return who uses a file: its readers, and its maker where it trains on what it made."""
    return tuple(dict.fromkeys((maker, *readers) if (maker, path) in USES else readers))


def _told(files: Iterable[DataFile], index: IdIndex) -> frozenset[tuple[str, str]]:
    """Return (stage, file) of the files that say what nobody could tell without them, as far as they can be read."""
    return frozenset((file.maker, file.path) for file in files if (file.maker, file.path) in TELLING and index.can_read(file.path, file.md5))


def _note(trace: Trace, stages: tuple[LockedStage, ...], stand: Stand, readers: Iterable[str], *, told: Collection[tuple[str, str]]) -> None:
    trace.stands.append(stand)
    models = {stage.name: _models(stage) for stage in stages}
    for reader in readers:
        use = use_of(reader, stand.path, told=told)
        if use.effect in SEEN:
            trace.sightings.append(Sighting(reader, models[reader], use.effect, use.words, stand.path, stand.md5, stand.rows))
    trace.cannot_tell += [f"{gap.stage}: {gap.words}" for gap in GAPS if gap.file == stand.path and gap.stage in models and (gap.stage, gap.told_by) not in told]


def _note_reading(trace: Trace, stages: tuple[LockedStage, ...], path: str, md5: str) -> None:
    """Note a version that holds no rows with ids (a report, ratios, the knowledge base): who made it, who read it."""
    maker = next((stage.name for stage in stages if any(item.path == path for item in stage.outputs)), GIVEN)
    trace.stands.append(Stand(path, md5, maker, 0, ("whole",), ()))
    for stage in stages:
        if any((item.path, item.md5) == (path, md5) for item in stage.inputs):
            trace.sightings.append(Sighting(stage.name, _models(stage), "shaped", "read it as a whole", path, md5, 0))


def _models(stage: LockedStage) -> tuple[str, ...]:
    return tuple(item.path.removeprefix(MODELS).removesuffix(".json") for item in stage.outputs if item.path.startswith(MODELS))


def strongest(sightings: Iterable[Sighting]) -> Mapping[str, Effect]:
    """Return {model: the strongest effect on it}; what only measures stands under the stage's name."""
    found: dict[str, Effect] = {}
    for sighting in sightings:
        for name in sighting.models or (sighting.stage,):
            before = found.get(name)
            if before is None or SEEN.index(sighting.effect) < SEEN.index(before):
                found[name] = sighting.effect
    return found


