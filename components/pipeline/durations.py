"""How long each stage took last time it really ran: a small JSON file beside the work folders."""

from pathlib import Path

from components.errors import StorageError
from components.storage.files import read_json, write_json

DURATIONS = "var/work/durations.json"


def read_durations(root: Path) -> dict[str, float]:
    """Return {stage: seconds of its last whole run}; empty where nothing was noted or the file is damaged."""
    try:
        values = read_json(root / DURATIONS)
        return {str(name): float(seconds) for name, seconds in values.items()}
    except (StorageError, AttributeError, TypeError, ValueError):
        return {}


def note_duration(root: Path, name: str, seconds: float) -> None:
    """Note how long a stage took."""
    write_json(root / DURATIONS, {**read_durations(root), name: round(seconds, 2)})
