"""Who used it: every model version that saw a data version, a document, a patient's record, a query, a case or a triple.

Asked of every registered version, of kept runs whose model was never registered, and of what lies in the folder now.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.provenance.id_index import IdIndex
from components.provenance.kept_lineage import REFERENCE, KeptLineages, Lineage
from components.provenance.sightings import Trace, lineage_stages, strongest, trace_id, trace_version
from components.registry.version_reading import open_registry, registered_versions
from components.settings.settings import load_settings
from components.tracking.addresses import is_made

DIGEST = re.compile(r"[0-9a-f]{7,32}(\.dir)?")
MD5_LETTERS = 32


@dataclass(frozen=True)
class Holder:
    """What is asked: a registered version, or a model that was never registered (`version` is None then)."""

    name: str
    version: str | None
    aliases: tuple[str, ...]
    run: str | None
    lineage: Lineage | None


def who_used(root: Path, asked: str) -> dict[str, Any]:
    """Return who saw an id or a data version, and where it stands.

    Args:
        asked: DVC md5 of a data version (whole, or its first 7 digits or more), or the id of a document, patient's record,
            query, case, sample, or triple (`predicate:subject:object`).
    Returns:
        {"asked", "kind": "data version"|"id", "md5", "holders", "stands", "rejected_by", "cannot_tell", "index"}; a holder
        is {"name", "version", "aliases", "run", "effects": {model: effect}, "sightings"}.
    Raises:
        UserError: nothing holds it; names what could not be read.
    """
    holders, index = all_holders(root), IdIndex(root)
    try:
        md5 = _data_version(asked, holders, index)
        traces = [(holder, _trace(asked, md5, holder.lineage, index)) for holder in holders if holder.lineage is not None]
    finally:
        index.close()
    unread = [f"{holder.name}: no kept run and no dvc.lock holds its model" for holder in holders if holder.lineage is None]
    if not any(trace.is_found for _, trace in traces):
        raise UserError(_nothing_found(asked, traces, unread))
    return {
        "asked": asked, "kind": "id" if md5 is None else "data version", "md5": md5,
        "holders": [_holder(holder, trace) for holder, trace in traces],
        "stands": _stands(traces),
        "rejected_by": sorted({name for _, trace in traces for name in trace.rejected_by}),
        "cannot_tell": [*unread, *dict.fromkeys(words for _, trace in traces for words in trace.cannot_tell)],
        "index": {"made": sorted(index.made), "mended": sorted(index.mended)},
    }  # fmt: skip


def all_holders(root: Path) -> list[Holder]:
    """Return everything that may have seen data: versions, then what was never registered."""
    lineages = KeptLineages(root)
    holders, known = [], set()
    if is_made(root):
        for record in registered_versions(open_registry(root), load_settings(root / "params.yaml").system.model_name):
            digest = record.tags.get("quarkmed.model_digest", "")
            run = record.tags.get("quarkmed.run")
            holders.append(Holder(f"version {record.version}", record.version, record.aliases, run, lineages.of(digest, run=run)))
            known.add(digest)
    for run, digest in lineages.candidates.items():
        if digest not in known:
            holders.append(Holder(f"run {run} (never registered)", None, (), run, lineages.kept(lineages.runs[run])))
            known.add(digest)
    present = lineages.present()
    if present is not None and (REFERENCE not in present.models or present.models[REFERENCE].digest not in known):
        holders.append(Holder("the folder's models (not registered)", None, (), None, present))
    if not holders:
        raise UserError(f"{root}: no run was kept and no stage has ended, so no model saw anything yet; run `quarkmed retrain` first")
    return holders


def _trace(asked: str, md5: str | None, lineage: Lineage | None, index: IdIndex) -> Trace:
    if lineage is None:
        return Trace()
    stages = lineage_stages(lineage.graph, REFERENCE)
    return trace_id(asked, stages, index) if md5 is None else trace_version(md5, stages, index)


def _data_version(asked: str, holders: list[Holder], index: IdIndex) -> str | None:
    """Return the whole md5 that `asked` begins, or None where no data version has such a one.

    Raises:
        UserError: several begin so.
    """
    if not DIGEST.fullmatch(asked):
        return None
    known = set()
    for holder in holders:
        for stage in holder.lineage.graph.stages if holder.lineage else ():
            for item in (*stage.inputs, *stage.outputs):
                known |= {item.md5, *(index.files(item.path, item.md5) or {}).values()}
    found = sorted(md5 for md5 in known if md5 == asked or (len(asked) < MD5_LETTERS and md5.startswith(asked)) or md5 == f"{asked}.dir")
    if len(found) > 1:
        raise UserError(f"{asked}: several data versions begin so: {', '.join(found)}; write more digits")
    return found[0] if found else None


def _holder(holder: Holder, trace: Trace) -> dict[str, Any]:
    return {
        "name": holder.name, "version": holder.version, "aliases": list(holder.aliases), "run": holder.run,
        "effects": dict(strongest(trace.sightings)), "sightings": [asdict(sighting) for sighting in trace.sightings],
    }  # fmt: skip


def _stands(traces: list[tuple[Holder, Trace]]) -> list[dict[str, Any]]:
    """Return each file version once, with the names of those in whose lineage it stands."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for holder, trace in traces:
        for stand in trace.stands:
            row = rows.setdefault((stand.path, stand.md5), {**asdict(stand), "in_lineage_of": []})
            row["in_lineage_of"].append(holder.name)
    return list(rows.values())


def _nothing_found(asked: str, traces: list[tuple[Holder, Trace]], unread: list[str]) -> str:
    gaps = [*unread, *dict.fromkeys(words for _, trace in traces for words in trace.cannot_tell)]
    checked = f"no data version of {len(traces)} lineage{'s' if len(traces) != 1 else ''} holds {asked!r} as an id"
    if gaps:
        return f"{checked}, but not all could be read, so this is no proof: {'; '.join(gaps)}"
    return f"{checked}, and no data version begins so; check the spelling (ids are those of artifacts/sources/*.jsonl)"
