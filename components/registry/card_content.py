"""What a model card rests on, collected from records: the version's tags, the journal, the kept parameters, the ledgers.

Nothing is guessed: parameters are those the run kept, or those here where the version is the present run's model; costs are
what was noted. A licence is only known of what ships with the project, or where a folder of sources carries a licence file.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components import layout
from components.errors import SettingsError, StorageError
from components.launch.gpu_hours import open_ledger
from components.pipeline.durations import read_durations
from components.pipeline.kept_runs import kept_runs, read_kept
from components.registry.journal import Entry
from components.registry.model_card import CardContent, Decision
from components.registry.version_reading import VersionRecord
from components.registry.versions import CANDIDATE
from components.settings.settings import Settings
from components.storage.artifact_store import read_reference

TAG = "quarkmed."
HIDDEN = ("stage_key",)
PARAMETERS = "params.yaml"
RECIPE = (
    "run", "engine", "sources", "curate", "holdout", "model", "pretraining", "mixture", "ift", "reward_models", "answers", "sft", "cold_start",
    "prompts", "grpo_reasoning", "grpo_general", "evaluate", "gate",
)  # fmt: skip
WORDS = {"COMMITTED": "promoted", "REFUSED": "refused", "HELD": "held back", "ABORTED": "aborted"}
ACTIONS = {"rollback": "made champion again (rollback)", "reject": "rejected", "veto": "promotion refused (veto)", "unchanged": "found to be the champion's bytes"}
HOUR = 3600.0
UNKNOWN = "not measured"


def card_content(root: Path, record: VersionRecord, entries: Sequence[Entry]) -> CardContent:
    """Return what the card of a version says.

    Args:
        entries: of the journal, about the version's model, oldest first.
    """
    tags = {name.removeprefix(TAG): value for name, value in record.tags.items() if name.startswith(TAG)}
    mine = [entry for entry in entries if entry.version == record.version]
    verdicts = [entry.details["verdict"] for entry in mine if entry.details.get("verdict")]
    is_present = _is_present(root, tags.get("model_digest", ""))
    settings = _settings(root, tags.get("run", ""), is_present=is_present)
    folder = (settings.get("sources") or {}).get("folder")
    return CardContent(
        model=record.model, version=record.version, lineage={name: value for name, value in tags.items() if "/" not in name and name not in HIDDEN},
        data={name: value for name, value in tags.items() if "/" in name}, licences=_licences(root, folder),
        recipe={name: _flat(settings[name]) for name in RECIPE if settings.get(name)}, costs=_costs(root, settings, run=tags.get("run", ""), is_present=is_present),
        verdict=verdicts[-1] if verdicts else None, decisions=[_decision(entry) for entry in mine if entry.kind != "PREPARED"], has_own_sources=folder is not None,
    )  # fmt: skip


def _is_present(root: Path, digest: str) -> bool:
    path = root / layout.MODELS[CANDIDATE]
    try:
        return bool(digest) and read_reference(path).digest == digest
    except StorageError:
        return False


def _settings(root: Path, run: str, *, is_present: bool) -> dict[str, Any]:
    """Return the parameters of the version's run as kept with it, or those here; defaults filled in. Empty where neither is known."""
    kept = [item for item in kept_runs(root) if item.run == run]
    text = read_kept(root, [(item, PARAMETERS) for item in kept]).get((run, PARAMETERS))
    if text is None and is_present and (root / PARAMETERS).is_file():
        text = (root / PARAMETERS).read_text(encoding="utf-8")
    if text is None:
        return {}
    values = yaml.safe_load(text)
    try:
        return Settings.model_validate(values).model_dump(mode="json")
    except (SettingsError, ValueError):  # of an older version of the project: as they were written
        return dict(values)


def _decision(entry: Entry) -> Decision:
    word = ACTIONS.get(entry.action, WORDS[entry.kind])
    return Decision(word, entry.who, str(entry.details.get("why", "")), str(entry.details.get("run", "")), entry.time)


def _licences(root: Path, folder: str | None) -> dict[str, str]:
    """Return what is known of the licences of the data."""
    found = {layout.KNOWLEDGE_BASE: f"part of the project: {_first_line(root) or 'no LICENSE file here'}"}
    if folder is None:
        return {**found, "sources": f"synthetic, made from {layout.KNOWLEDGE_BASE} by this project"}
    place = Path(folder).expanduser()
    line = _first_line(place if place.is_absolute() else root / place)
    return {**found, f"sources ({folder})": line or "not recorded: the folder has no LICENSE file"}


def _first_line(folder: Path) -> str | None:
    """Return the heading of a folder's licence file, or None."""
    for path in sorted(folder.glob("LICENSE*")) + sorted(folder.glob("LICENCE*")):
        lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        if lines:
            return ", ".join(lines[:2])
    return None


def _costs(root: Path, settings: Mapping[str, Any], *, run: str, is_present: bool) -> dict[str, str]:
    """Return what training cost, as far as it was noted. Stage times are those of each stage's last whole run here."""
    seconds = sum(read_durations(root).values()) if is_present else 0.0
    threads = (settings.get("run") or {}).get("threads")
    cpu = UNKNOWN
    if seconds and threads:
        cpu = f"at most {seconds * threads / HOUR:.2f}: {seconds / HOUR:.2f} hours of the stages' own work on {threads} threads"
    return {"CPU-hours": cpu, "GPU-hours": _gpu_hours(root, run), "energy": UNKNOWN}


def _gpu_hours(root: Path, run: str) -> str:
    """Return the GPU-hours of the run's pods; stages that earlier runs made are in those runs' hours."""
    ledger = open_ledger(root)
    pods = [pod for pod in ledger.pods() if pod.run == run]
    return f"{ledger.gpu_hours(run=run):.2f} of {len(pods)} pods in run {run}" if pods else f"{UNKNOWN}: no pod of a cluster worked in this run"


def _flat(values: Any) -> str:
    return ", ".join(_leaves(values, ""))


def _leaves(value: Any, prefix: str) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{prefix}.{key}" if prefix else str(key))]
    return [f"{prefix}={json.dumps(value, ensure_ascii=False)}"]
