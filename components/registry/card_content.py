"""What a model card rests on, collected from records: the version's tags, the journal, the kept parameters, the ledgers.

Nothing is guessed: parameters are those the run kept, or those here where the version is the present run's model; costs are
what was noted (`card_costs.py`). A licence is only known of what ships with the project, or where a folder of sources carries
a licence file.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components import layout
from components.errors import SettingsError, StorageError
from components.pipeline.durations import read_durations
from components.pipeline.kept_runs import kept_runs, read_kept
from components.pipeline.locked_graph import LockedStage, read_lock
from components.pipeline.workspace import LOCK_FILE
from components.registry.card_costs import HOUR, stages_costs
from components.registry.journal import Entry
from components.registry.model_card import CardContent, Decision
from components.registry.version_reading import VersionRecord
from components.registry.versions import CANDIDATE
from components.settings.settings import Settings
from components.storage.artifact_store import read_reference

if TYPE_CHECKING:
    from mlflow import MlflowClient

HIDDEN = ("stage_key",)
PARAMETERS = "params.yaml"
RECIPE = (
    "run", "engine", "sources", "curate", "holdout", "model", "pretraining", "mixture", "ift", "reward_models", "answers", "sft", "cold_start",
    "prompts", "grpo_reasoning", "grpo_general", "evaluate", "gate",
)  # fmt: skip
WORDS = {"COMMITTED": "promoted", "REFUSED": "refused", "HELD": "held back", "ABORTED": "aborted"}
ACTIONS = {"rollback": "made champion again (rollback)", "reject": "rejected", "veto": "promotion refused (veto)", "unchanged": "found to be the champion's bytes"}


def card_content(root: Path, record: VersionRecord, *, entries: Sequence[Entry], client: "MlflowClient") -> CardContent:
    """Return what the card of a version says.

    Args:
        entries: of the journal, about the version's model, oldest first.
        client: of the registry, which holds what each stage used.
    """
    labels = record.labels
    mine = [entry for entry in entries if entry.version == record.version]
    verdicts = [entry.details["verdict"] for entry in mine if entry.details.get("verdict")]
    is_present = _is_present(root, labels.get("model_digest", ""))
    run = labels.get("run", "")
    settings = _settings(root, run, is_present=is_present)
    folder = (settings.get("sources") or {}).get("folder")
    return CardContent(
        model=record.model, version=record.version, lineage={name: value for name, value in labels.items() if name not in HIDDEN},
        data=record.data, licences=_licences(root, folder),
        recipe={name: _flat(settings[name]) for name in RECIPE if settings.get(name)},
        costs=stages_costs(root, client, _stages(root, run, is_present=is_present), run=run, at_most=_at_most(root, settings) if is_present else ""),
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
    text = _kept_text(root, run, PARAMETERS, is_present=is_present)
    if text is None:
        return {}
    values = yaml.safe_load(text)
    try:
        return Settings.model_validate(values).model_dump(mode="json")
    except (SettingsError, ValueError):  # of an older version of the project: as they were written
        return dict(values)


def _stages(root: Path, run: str, *, is_present: bool) -> tuple[LockedStage, ...]:
    """Return the stages the version's model was made by; none where no dvc.lock of it is known, or it cannot be read."""
    text = _kept_text(root, run, LOCK_FILE, is_present=is_present)
    try:
        return read_lock(text or "", name=LOCK_FILE).upstream(layout.MODELS[CANDIDATE])
    except StorageError:
        return ()


def _kept_text(root: Path, run: str, path: str, *, is_present: bool) -> str | None:
    """Return a file as kept with the version's run, or that in the folder where the version is the present run's."""
    text = read_kept(root, [(item, path) for item in kept_runs(root) if item.run == run]).get((run, path))
    if text is None and is_present and (root / path).is_file():
        text = (root / path).read_text(encoding="utf-8")
    return text


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


def _at_most(root: Path, settings: Mapping[str, Any]) -> str:
    """Return a bound on the CPU-hours by the times of each stage's last whole run here; empty where they are unknown."""
    seconds, threads = sum(read_durations(root).values()), (settings.get("run") or {}).get("threads")
    if not seconds or not threads:
        return ""
    return f"at most {seconds * threads / HOUR:.2f}: {seconds / HOUR:.2f} hours of the stages' own work on {threads} threads"


def _flat(values: Any) -> str:
    return ", ".join(_leaves(values, ""))


def _leaves(value: Any, prefix: str) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{prefix}.{key}" if prefix else str(key))]
    return [f"{prefix}={json.dumps(value, ensure_ascii=False)}"]
