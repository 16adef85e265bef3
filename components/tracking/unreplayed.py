"""Reports of ended stages that do not stand in MLflow yet: what a killed run left for the next one."""

from pathlib import Path
from typing import Any

from components.errors import StorageError
from components.storage.files import read_json
from components.tracking.replay import is_replayed

REPORT = "report.json"


def unreplayed_reports(root: Path) -> list[dict[str, Any]]:
    """Return the reports below var/work whose record was not replayed, oldest first; damaged ones are left out."""
    reports = []
    for path in sorted((root / "var" / "work").glob(f"*/*/{REPORT}"), key=lambda item: item.stat().st_mtime):
        if not is_replayed(root, path.parent):
            try:
                reports.append(read_json(path))
            except StorageError:
                continue
    return reports
