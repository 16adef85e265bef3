"""How far the stage at work is, read from the end of its record while it writes."""

import json
import os
from pathlib import Path
from typing import Any

from components.recorder import RECORD

TAIL_BYTES = 16384


def last_progress(folder: Path) -> dict[str, Any] | None:
    """Return the newest progress entry of a record, reading only its end."""
    path = folder / RECORD
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            lines = stream.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if entry.get("kind") == "progress":
            return entry
    return None
