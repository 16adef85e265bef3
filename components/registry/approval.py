"""A person's decision about a version: promote or reject, with name and reason, in the journal.

It is the same compare-and-set as the gate's own: against the champion the table was shown for. A person may overrule a
suite, never a veto. A decision that was asked for under a name (`asked_in`, the flow run) is taken once, however often the
asking process is killed and started again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.errors import UserError
from components.registry.assessment import Assessment
from components.registry.card_keeping import keep_card
from components.registry.decision import describe_decision
from components.registry.gate import failed_vetoes
from components.registry.journal import Entry, Journal, PromotionConflict, open_journal
from components.registry.promotion import Candidate, promote, recover
from components.registry.version_models import stored_reference
from components.registry.version_reading import find_version, open_registry
from components.registry.versions import MlflowVersions

Choice = Literal["promote", "reject"]


@dataclass(frozen=True)
class Answer:
    """What a person decided; `asked_in` names what asked, empty on the command line."""

    choice: Choice
    who: str
    why: str
    asked_in: str = ""


def settle_by_person(root: Path, assessed: Assessment, answer: Answer) -> dict[str, Any]:
    """Write a person's decision to the journal and, where it says so, promote; mend an interrupted promotion first.

    Returns:
        `describe_decision` of the entry, with "said": sentences about what was mended.
    Raises:
        UserError: who or why is empty, the version is champion already, or a veto stands against it.
        PromotionConflict: the champion is not the one the table was shown for.
        StorageError: the version is to be promoted, and its bytes were purged, are missing or damaged.
    """
    if not answer.who.strip() or not answer.why.strip():
        raise UserError(f"a decision about {assessed.model} version {assessed.version} needs who decides and why; neither may be empty")
    client = open_registry(root)
    journal, versions = open_journal(root), MlflowVersions(client, assessed.model)
    said = recover(journal, versions, model=assessed.model)
    entry = _taken(journal, assessed, answer)
    if entry is None:
        if answer.choice == "promote":
            stored_reference(root, client, find_version(client, assessed.version, model=assessed.model))
        entry = _decide(journal, versions, assessed, answer)
    keep_card(root, client, assessed.model, assessed.version)
    return {**describe_decision(entry), "who": entry.who, "why": answer.why.strip(), "said": said}


def _decide(journal: Journal, versions: MlflowVersions, assessed: Assessment, answer: Answer) -> Entry:
    who, why = answer.who.strip(), answer.why.strip()
    vetoes = failed_vetoes(assessed.verdict) if assessed.verdict else []
    overruled = [item["sentence"] for item in assessed.verdict["suites"] if item["rule"] != "veto" and not item["is_passed"]] if assessed.verdict else []
    word = "promoted" if answer.choice == "promote" else "rejected"
    details = {
        "run": "", "reference": dict(assessed.reference), "verdict": assessed.verdict, "why": why, "asked_in": answer.asked_in,
        "reasons": [f"{word} by {who}: {why}", *(f"overruled: {sentence}" for sentence in overruled if answer.choice == "promote")],
    }  # fmt: skip
    entry = Entry(
        model=assessed.model, version=assessed.version, kind="REFUSED", action="reject", decision_key=assessed.decision_key, who=who,
        champion_before=assessed.champion, details=details,
    )  # fmt: skip
    if answer.choice == "reject":
        return journal.note(entry)
    if vetoes:
        refused = [f"{who} asked for promotion: {why}", *vetoes]
        journal.note(Entry(**{**entry.__dict__, "action": "veto", "details": {**details, "reasons": refused}}))
        raise UserError(f"{assessed.model} version {assessed.version} is not promoted, and no person can overrule a veto: {'; '.join(vetoes)}")
    present = journal.champion(assessed.model)
    if present is not None and present.version == assessed.version:
        raise UserError(f"{assessed.model} version {assessed.version} is the champion already; there is nothing to promote")
    if (present.version if present else None) != assessed.champion:
        raise PromotionConflict(
            f"the champion of {assessed.model} is {_version(present.version if present else None)} now, not {_version(assessed.champion)} as in the table "
            f"that was shown; version {assessed.version} was not promoted: ask again, against the new champion"
        )
    candidate = Candidate(assessed.model, assessed.version, assessed.decision_key, details)
    return promote(journal, versions, candidate, expected_champion=assessed.champion, who=who)


def _taken(journal: Journal, assessed: Assessment, answer: Answer) -> Entry | None:
    """Return the decision this very question led to before its process was killed, or None."""
    if not answer.asked_in:
        return None
    mine = [entry for entry in journal.entries(assessed.model) if entry.details.get("asked_in") == answer.asked_in and entry.kind in ("COMMITTED", "REFUSED")]
    return mine[-1] if mine else None


def _version(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
