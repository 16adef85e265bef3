"""Take the champion back: to the one before, or to a named version that was champion once. The routine of promotion.

A version that never was champion is refused here, because nobody would have judged it: it is promoted instead.
"""

from pathlib import Path
from typing import Any

from components.errors import UserError
from components.registry.card_keeping import keep_card
from components.registry.decision import describe_decision
from components.registry.journal import Entry, open_journal
from components.registry.promotion import PREVIOUS, Candidate, promote, recover
from components.registry.version_models import stored_reference
from components.registry.version_reading import find_version, open_registry
from components.registry.versions import MlflowVersions
from components.settings.settings import load_settings


def roll_back(root: Path, *, who: str, why: str, to: str | None = None) -> dict[str, Any]:
    """Make an earlier champion the champion again; mend an interrupted promotion first.

    Args:
        to: the version, by number, alias or models:/ address; the one before the present champion where None or empty.
    Returns:
        `describe_decision` of the entry, with "before" and "said".
    Raises:
        UserError: why is empty, there is nothing to go back to, or the version never was champion.
        StorageError: the version's bytes were purged, are missing from the store or damaged; nothing was changed.
        PromotionConflict: another promotion was quicker.
    """
    model = load_settings(root / "params.yaml").system.model_name
    if not why.strip() or not who.strip():
        raise UserError(f"a rollback of {model} needs who rolls back and why; neither may be empty")
    client = open_registry(root)
    journal, versions = open_journal(root), MlflowVersions(client, model)
    said = recover(journal, versions, model=model)
    champion = journal.champion(model)
    if champion is None:
        raise UserError(f"{model} has no champion, so there is nothing to roll back; `quarkmed history` shows the journal")
    record = find_version(client, _wanted(champion, to), model=model)
    if record.version == champion.version:
        raise UserError(f"{model} version {record.version} is the champion already; name another with --to")
    reigns = {entry.version: entry for entry in journal.entries(model) if entry.kind == "COMMITTED"}  # of each version the last
    target = reigns.get(record.version)
    if target is None:
        raise UserError(f"{model} version {record.version} never was champion, so a rollback cannot lead there; `quarkmed promote {record.version}` judges it first")
    reference = stored_reference(root, client, record, instead=reigns.keys() - {champion.version})
    details = {
        "run": "", "reference": reference.model_dump(), "verdict": target.details.get("verdict"), "why": why.strip(),
        "reasons": [f"rolled back from version {champion.version} by {who.strip()}: {why.strip()}"],
    }  # fmt: skip
    candidate = Candidate(model, record.version, target.decision_key, details)
    entry = promote(journal, versions, candidate, expected_champion=champion.version, action="rollback", who=who.strip())
    for version in (champion.version, record.version):
        keep_card(root, client, model, version)
    return {**describe_decision(entry), "before": champion.version, "who": entry.who, "why": why.strip(), "said": said}


def _wanted(champion: Entry, to: str | None) -> str:
    if to:
        return to
    if champion.champion_before is None:
        raise UserError(f"{champion.model} version {champion.version} is the first champion, so there is no {PREVIOUS} to roll back to; name a version with --to")
    return champion.champion_before
