"""Where a registered version came from, in one value: code, parameters, data versions, parent models, runs, checksums, journal.

Read from what runs record anyway (the version's tags, its run's commit, MLflow's stage runs, the promotion journal, the
store). Where two of them disagree, or one is missing, a note says so; nothing is guessed and nothing is written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.pipeline.locked_graph import MODELS, DataVersion, LockedGraph, LockedStage
from components.provenance.kept_lineage import REFERENCE, KeptLineages, Lineage, parents
from components.registry.journal import Entry, open_journal
from components.registry.promotion import CHAMPION
from components.registry.version_reading import VersionRecord, find_version, open_registry, retrain_run, stage_run
from components.settings.settings import load_settings
from components.storage.artifact_store import ArtifactStore, ModelReference
from components.storage.store_address import open_store
from components.tracking.addresses import has_journal


def explain_version(root: Path, wanted: str, *, reads_bytes: bool = False) -> dict[str, Any]:
    """Return all that is recorded of how a version was made.

    Args:
        wanted: models:/name@alias, an alias or a version's number.
        reads_bytes: compare the stored bytes of every model with its digest, instead of only looking whether it is there.
    Returns:
        {"model", "version", "aliases", "registered", "source", "run", "checksum", "models", "other_models", "stages", "data",
        "code", "promotion", "notes"}; JSON values, times in seconds since the epoch.
    Raises:
        UserError: there is no such version.
    """
    settings = load_settings(root / "params.yaml").system
    client = open_registry(root)
    record = find_version(client, wanted, model=settings.model_name)
    tags = record.labels
    digest = tags.get("model_digest", "")
    lineage = KeptLineages(root).of(digest, run=tags.get("run"))
    journal = journal_entries(root, record.model)
    store = open_store(root)
    mlflow_retrain = retrain_run(client, root, tags.get("run", ""))
    explained: dict[str, Any] = {
        "model": record.model, "version": record.version, "aliases": list(record.aliases), "registered": record.created, "source": record.source,
        "run": {
            "id": tags.get("run"), "profile": tags.get("profile"), "git_commit": tags.get("git_sha"), "had_uncommitted_changes": tags.get("git_dirty") == "true",
            "kept_as": lineage.origin if lineage else None, "kept_commit": lineage.commit if lineage else None,
            "mlflow_run": mlflow_retrain, "mlflow_run_of_the_model": record.mlflow_run, "stage_key": tags.get("stage_key"),
        },
        "checksum": digest,
        "promotion": [entry_row(entry) for entry in journal if entry.version == record.version],
        "notes": _notes(record, tags, lineage, journal),
    }  # fmt: skip
    if lineage is None:
        return {**explained, **_from_tags(record.data)}
    stages = lineage.graph.upstream(REFERENCE)
    chain = parents(lineage, REFERENCE)
    others = sorted({item.path for stage in stages for item in stage.outputs if item.path in lineage.models} - {path for path, _ in chain})
    return {
        **explained,
        "models": [_model(lineage.graph, path, reference, store, reads_bytes=reads_bytes) for path, reference in chain],
        "other_models": [_model(lineage.graph, path, lineage.models[path], store, reads_bytes=reads_bytes) for path in others],
        "stages": [_stage(client, root, stage, mlflow_retrain) for stage in stages],
        "data": _data(lineage.graph, stages, is_code=False),
        "code": _data(lineage.graph, stages, is_code=True),
    }


def journal_entries(root: Path, model: str) -> list[Entry]:
    """Return the promotion journal's entries about a model, oldest first; none where there is no journal yet."""
    return open_journal(root).entries(model) if has_journal(root) else []


def entry_row(entry: Entry) -> dict[str, Any]:
    """Return a journal entry as JSON values."""
    verdict = entry.details.get("verdict") or {}
    return {
        "sequence": entry.sequence, "time": entry.time, "kind": entry.kind, "action": entry.action, "who": entry.who, "champion_before": entry.champion_before,
        "decision_key": entry.decision_key, "run": entry.details.get("run"), "compared_with": verdict.get("compared_with"),
        "reasons": list(entry.details.get("reasons", [])), "gate": verdict.get("suites", []),
    }  # fmt: skip


def _notes(record: VersionRecord, tags: Mapping[str, str], lineage: Lineage | None, journal: Sequence[Entry]) -> list[str]:
    """Say what is missing or does not agree."""
    notes = []
    if lineage is None:
        notes.append("no kept run and no dvc.lock here holds this model, so stages, parameters and parents are unknown; data versions are those of the version's tags")
    elif lineage.run != tags.get("run"):
        notes.append(f"run {tags.get('run')} keeps no such model; what is shown is from {lineage.origin}, which holds the same bytes")
    if tags.get("git_dirty") == "true":
        notes.append("the checkout had uncommitted changes: the code is the digests under `code`, not the commit alone")
    committed = [entry for entry in journal if entry.kind == "COMMITTED"]
    champion = committed[-1].version if committed else None
    if CHAMPION in record.aliases and champion != record.version:
        notes.append(f"the alias {CHAMPION} names version {record.version}, the journal says {champion or 'none'}; the next `quarkmed retrain` sets the alias right")
    return notes


def _from_tags(versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what a version's own tags hold: the data versions of its run, without stages."""
    data = [{"path": path, "md5": value, "size_bytes": None, "files": None, "made_by": None, "read_by": []} for path, value in sorted(versions.items())]
    return {"models": [], "other_models": [], "stages": [], "data": data, "code": []}


def _model(graph: LockedGraph, path: str, reference: ModelReference, store: ArtifactStore, *, reads_bytes: bool) -> dict[str, Any]:
    maker = graph.maker(path)
    return {"path": path, "stage": maker.name if maker else None, **reference.model_dump(), "stored": _stored(store, reference, reads_bytes=reads_bytes)}


def _stored(store: ArtifactStore, reference: ModelReference, *, reads_bytes: bool) -> str:
    if not store.has(reference):
        return "missing"
    if not reads_bytes:
        return "present"
    try:
        store.fetch(reference)
    except StorageError:
        return "damaged"
    return "as published"


def _stage(client: Any, root: Path, stage: LockedStage, parent: str | None) -> dict[str, Any]:
    found = stage_run(client, root, stage=stage.name, outputs={item.path: item.md5 for item in stage.outputs}, parent=parent)
    return {
        "name": stage.name, "mlflow_run": found.mlflow_run if found else None, "stage_key": found.stage_key if found else None,
        "inputs": {item.path: item.md5 for item in stage.inputs}, "outputs": {item.path: item.md5 for item in stage.outputs}, "parameters": dict(stage.parameters),
    }  # fmt: skip


def _data(graph: LockedGraph, stages: Sequence[LockedStage], *, is_code: bool) -> list[dict[str, Any]]:
    """Return each (path, md5) that the stages read, in the order first read, models left out."""
    readers: dict[DataVersion, list[str]] = {}
    for stage in stages:
        for item in stage.inputs:
            if item.is_code == is_code and not item.path.startswith(MODELS):
                readers.setdefault(item, []).append(stage.name)
    rows = []
    for item, names in readers.items():
        maker = graph.maker(item.path)
        rows.append({"path": item.path, "md5": item.md5, "size_bytes": item.size, "files": item.files, "made_by": maker.name if maker else None, "read_by": names})
    return rows


