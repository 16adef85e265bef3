"""Promote a version: compare-and-set in the journal, then the aliases, then the commit; and mend what a kill left open.

The order makes every moment safe: `previous_champion` first, then `champion`, so that what is served stays either the
old or the new version; the COMMITTED entry comes after the aliases were read back. A rollback is the same routine.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from components.errors import StorageError
from components.registry.journal import Entry, Journal
from components.registry.process_names import is_alive, process_name

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous_champion", "challenger"


class AliasTable(Protocol):
    """The part of a model registry that promotion needs."""

    def get_alias(self, alias: str) -> str | None:
        """Return the version an alias names, or None."""

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias name a version."""

    def has_version(self, version: str) -> bool:
        """Say whether the registry holds a version."""


@dataclass(frozen=True)
class Candidate:
    """The version to promote, and the results the decision rests on."""

    model: str
    version: str
    decision_key: str
    details: Mapping[str, Any]


def promote(
    journal: Journal, aliases: AliasTable, candidate: Candidate, *, expected_champion: str | None, action: str = "promote", who: str | None = None
) -> Entry:
    """Make a candidate champion.

    Raises:
        PromotionConflict: the champion is not the expected one any more, or another promotion is open.
        StorageError: the registry does not hold the version, or its aliases cannot be set.
    """
    if not aliases.has_version(candidate.version):
        raise StorageError(f"the registry has no version {candidate.version} of {candidate.model}; register it first")
    entry = Entry(
        model=candidate.model, version=candidate.version, kind="PREPARED", action=action, decision_key=candidate.decision_key,
        who=who or user_name(), details={**candidate.details, "process": process_name()},
    )  # fmt: skip
    return _finish(journal, aliases, journal.prepare(entry, expected_champion=expected_champion))


def recover(journal: Journal, aliases: AliasTable, *, model: str) -> list[str]:
    """Finish or abort the promotion a killed process left open, set the aliases right, and say what was done."""
    said: list[str] = []
    pending = journal.open_preparation(model)
    if pending is not None and is_alive(str(pending.details.get("process", ""))):
        return [f"promotion {pending.sequence} of version {pending.version} by {pending.who} is under way"]
    if pending is not None and aliases.has_version(pending.version):
        _finish(journal, aliases, pending)
        said.append(f"finished promotion {pending.sequence}: version {pending.version} of {model} is champion")
    elif pending is not None:
        journal.close(pending, "ABORTED", note="the registry does not hold the version")
        said.append(f"aborted promotion {pending.sequence}: the registry does not hold version {pending.version} of {model}; the champion is unchanged")
    return said + _right_aliases(journal, aliases, model)


def user_name() -> str:
    """Return who decides: user and host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _right_aliases(journal: Journal, aliases: AliasTable, model: str) -> list[str]:
    """Let the aliases name what the journal says. Where it knows no promotion it may be new or lost: nothing is changed."""
    champion = journal.champion(model)
    if champion is None:
        return []
    said = []
    for alias, version in ((CHAMPION, champion.version), (PREVIOUS, champion.champion_before)):
        if version is not None and aliases.get_alias(alias) != version and aliases.has_version(version) and (alias == CHAMPION or version != champion.version):
            aliases.set_alias(alias, version)
            said.append(f"set the alias {alias} back to version {version}, as the journal says")
    return said


def _finish(journal: Journal, aliases: AliasTable, prepared: Entry) -> Entry:
    if prepared.champion_before is not None and prepared.champion_before != prepared.version:
        aliases.set_alias(PREVIOUS, prepared.champion_before)
    aliases.set_alias(CHAMPION, prepared.version)
    found = aliases.get_alias(CHAMPION)
    if found != prepared.version:
        raise StorageError(f"the alias {CHAMPION} of {prepared.model} reads version {found} after it was set to {prepared.version}; run `quarkmed reconcile` to finish the promotion")
    return journal.close(prepared, "COMMITTED")
