"""How many flow runs Prefect has as running: asked of its server where it is up, else read from its database.

Without importing Prefect (seconds). The database is only read.
"""

import contextlib
import json
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path

from components.settings.settings import load_settings
from flows.service_catalogue import prefect_service
from flows.services import is_healthy

OPEN = ("RUNNING", "PENDING", "CANCELLING")
DATABASE = "var/prefect/prefect.db"
ANSWER_SECONDS = 5.0


def claimed_runs(root: Path) -> int | None:
    """Return how many flow runs stand as running or about to; None where there is nothing to ask."""
    service = prefect_service(root, load_settings(root / "params.yaml").system)
    if is_healthy(service):
        return _ask_server(service.address)
    return _ask_database(root / DATABASE)


def _ask_server(address: str) -> int | None:
    query = {"flow_runs": {"state": {"type": {"any_": list(OPEN)}}}}
    request = urllib.request.Request(f"{address}/api/flow_runs/count", data=json.dumps(query).encode(), headers={"Content-Type": "application/json"})
    with contextlib.suppress(urllib.error.URLError, OSError, ValueError), urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return int(json.load(answer))
    return None


def _ask_database(path: Path) -> int | None:
    if not path.is_file():
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=ANSWER_SECONDS)) as database:
        marks = ", ".join("?" for _ in OPEN)
        return int(database.execute(f"SELECT count(*) FROM flow_run WHERE state_type IN ({marks})", OPEN).fetchone()[0])
    return None
