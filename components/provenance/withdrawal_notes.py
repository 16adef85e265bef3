"""What is on record about a withdrawn id: its line of the list, and the purges."""

import time
from pathlib import Path

from components.curation.withdrawn import read_withdrawals
from components.layout import WITHDRAWN
from components.provenance.purge_journal import Purge, PurgeJournal


def unfinished(root: Path) -> list[Purge]:
    """Return the purges that were begun and not ended, oldest first."""
    return [purge for purge in PurgeJournal(root).purges() if not purge.is_ended]


def withdrawal_notes(root: Path, identifier: str) -> list[str]:
    """Return sentences on whether an id was withdrawn, and what was purged of it; none where it was not."""
    path = root / WITHDRAWN
    listed = [item for item in read_withdrawals(path) if item.id == identifier] if path.is_file() else []
    notes = [f"withdrawn {item.time} by {item.who}: {item.why}" for item in listed]
    for purge in PurgeJournal(root).purges():
        if identifier in purge.ids:
            day = time.strftime("%Y-%m-%d", time.gmtime(purge.time))
            versions = "; ".join(f"{name} ({', '.join(f'{model} {effect}' for model, effect in effects.items())})" for name, effects in purge.saw.items())
            notes.append(f"purge {purge.number} of {day} by {purge.who}: {len(purge.gone)} of {len(purge.copies)} copies away; it had been seen by {versions or 'no version'}")
    return notes
