"""The three steps after the last stage, each one call that can be repeated: register, judge, settle.

They take and return JSON values, because register and settle run in the tracking process (the only one that writes
MLflow) and judge runs in the warm stage process (which has numpy, and can score a champion).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components import layout
from components.evaluation.results import ItemResult, read_results
from components.lineage import digest_file, digest_value
from components.registry.card_keeping import keep_card
from components.registry.gate import judge
from components.registry.journal import Entry, open_journal
from components.registry.promotion import CHALLENGER, CHAMPION, Candidate, promote, recover, user_name
from components.registry.versions import CANDIDATE, MlflowVersions, check_manifest
from components.registry.weaknesses import weakest_tasks
from components.settings.settings import load_settings
from components.storage.artifact_store import ModelReference, read_reference
from components.storage.store_address import open_store
from components.tracking.record_reading import accepted_name
from components.tracking.replay import replay_stage
from components.tracking.tracking_store import open_client


def decision_key(root: Path) -> str:
    """Return the digest of what a decision rests on: the candidate's model, every model's results, the gate's settings."""
    settings = load_settings(root / "params.yaml")
    reference = read_reference(root / layout.MODELS[CANDIDATE])
    return digest_value([settings.system.model_name, reference.digest, digest_file(root / layout.RESULTS), settings.gate.model_dump(mode="json")])


def settled_decision(root: Path) -> Entry | None:
    """Return the decision already taken on the present results, or None where one is due or open."""
    model = load_settings(root / "params.yaml").system.model_name
    journal = open_journal(root)
    if journal.open_preparation(model) is not None:
        return None
    return journal.last_decision(model, decision_key(root))


def register_candidate(root: str, run: str, report: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Register the candidate's model with its lineage and point `challenger` at it; mend an interrupted promotion first.

    Args:
        report: the `StageReport` of the stage that made the model, as a dictionary.
        tags: lineage: label → value.
    Returns:
        {"model", "version", "said"}: `said` are sentences about what was mended.
    """
    folder = Path(root)
    settings = load_settings(folder / "params.yaml").system
    reference = read_reference(folder / layout.MODELS[CANDIDATE])
    check_manifest(open_store(folder), reference)
    run_id = replay_stage(root, run, report)
    client = open_client(folder)
    versions = MlflowVersions(client, settings.model_name)
    said = recover(open_journal(folder), versions, model=settings.model_name)
    lineage = {**tags, "model_digest": reference.digest}
    version = versions.register(
        stage_key=str(report["key"]), run_id=run_id, artifact=f"models/{CANDIDATE}", tags={f"quarkmed.{accepted_name(name)}": value for name, value in lineage.items()},
        description="",
    )  # fmt: skip
    keep_card(folder, client, settings.model_name, version)
    versions.set_alias(CHALLENGER, version)
    return {"model": settings.model_name, "version": version, "lineage": lineage, "said": said}


def champion_reference(root: Path) -> tuple[str, ModelReference] | None:
    """Return the champion's version and model reference as the journal has them, or None before the first promotion."""
    champion = open_journal(root).champion(load_settings(root / "params.yaml").system.model_name)
    if champion is None:
        return None
    return champion.version, ModelReference.model_validate(champion.details["reference"])


def judge_candidate(root: str, champion_results: str | None) -> dict[str, Any]:
    """Run the gate on the stored results.

    Args:
        champion_results: Parquet file of the champion's rows on the same items; None before the first promotion.
    Returns:
        `GateVerdict.as_dict()`, and under "weakest" the tasks the candidate fails most on.
    """
    folder = Path(root)
    settings = load_settings(folder / "params.yaml")
    results = read_results(folder / layout.RESULTS)
    champion: Sequence[ItemResult] | None = None
    if champion_results is not None:
        champion = [row for rows in read_results(Path(champion_results)).values() for row in rows]
    verdict = judge(results[CANDIDATE], champion, results["base"], settings=settings.gate, seed=settings.run.seed).as_dict()
    return {**verdict, "weakest": weakest_tasks(results[CANDIDATE], settings=settings)}


def settle_decision(
    root: str, run: str, registered: Mapping[str, Any], verdict: Mapping[str, Any] | None, expected_champion: str | None, may_promote: bool | None = None
) -> dict[str, Any]:
    """Write the decision to the journal and, where the gate passed, promote; the same results are decided once.

    Args:
        verdict: of the gate; None where the candidate is the champion already.
        expected_champion: the version the gate compared with.
        may_promote: whether a model that passed becomes champion by itself; as `system.promote` says where None.
    Returns:
        {"model", "version", "alias", "decision": promoted|refused|held|unchanged, "reasons"}.
    Raises:
        PromotionConflict: the champion changed meanwhile.
    """
    folder = Path(root)
    settings = load_settings(folder / "params.yaml").system
    client = open_client(folder)
    journal, versions = open_journal(folder), MlflowVersions(client, settings.model_name)
    key, reference = decision_key(folder), read_reference(folder / layout.MODELS[CANDIDATE])
    details = {"run": run, "reference": reference.model_dump(), "verdict": verdict, "reasons": verdict["reasons"] if verdict else []}
    candidate = Candidate(settings.model_name, str(registered["version"]), key, details)
    entry = journal.last_decision(settings.model_name, key)
    if entry is None:
        entry = _decide(journal, versions, candidate, verdict=verdict, expected_champion=expected_champion, may_promote=settings.promote == "auto" if may_promote is None else may_promote)
    told = describe_decision(entry)
    card = keep_card(folder, client, settings.model_name, candidate.version)
    return {**told, "alias": CHAMPION if versions.get_alias(CHAMPION) == candidate.version else CHALLENGER, "card": card}


def describe_decision(entry: Entry) -> dict[str, Any]:
    """Return a journal entry as the summary shows it."""
    words = {"COMMITTED": "promoted", "REFUSED": "refused", "HELD": "held", "PREPARED": "open", "ABORTED": "aborted"}
    is_unchanged = entry.action == "unchanged"
    return {
        "model": entry.model, "version": entry.version, "alias": CHAMPION if entry.kind == "COMMITTED" or is_unchanged else CHALLENGER,
        "decision": "unchanged" if is_unchanged else words[entry.kind], "decided_in": str(entry.details.get("run", "")), "reasons": list(entry.details.get("reasons", [])),
    }  # fmt: skip


def history(root: Path) -> list[dict[str, Any]]:
    """Return the journal as rows: who, when, why, gate table."""
    model = load_settings(root / "params.yaml").system.model_name
    return [{**entry.__dict__, "details": json.loads(json.dumps(dict(entry.details)))} for entry in open_journal(root).entries(model)]


def _decide(
    journal: Any, versions: MlflowVersions, candidate: Candidate, *, verdict: Mapping[str, Any] | None, expected_champion: str | None, may_promote: bool
) -> Entry:
    entry = Entry(
        model=candidate.model, version=candidate.version, kind="REFUSED", action="refuse", decision_key=candidate.decision_key,
        who=user_name(), champion_before=expected_champion, details=candidate.details,
    )  # fmt: skip
    if verdict is None:
        unchanged = {**candidate.details, "reasons": ["the candidate's model is the champion's, byte for byte"]}
        return journal.note(Entry(**{**entry.__dict__, "kind": "HELD", "action": "unchanged", "details": unchanged}))
    if not verdict["is_passed"]:
        return journal.note(entry)
    if not may_promote:
        return journal.note(Entry(**{**entry.__dict__, "kind": "HELD", "action": "hold"}))
    return promote(journal, versions, candidate, expected_champion=expected_champion)
