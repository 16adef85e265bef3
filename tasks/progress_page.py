"""Live progress in the Prefect page: one bar for the run's stages and one for the stage at work.

Follows the run's events and the stage's record from a thread of its own, as the terminal's display does. A page that
cannot be written never stops a run.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.runtime import flow_run

from components.pipeline.events import read_events, stage_endings
from components.pipeline.live_progress import last_progress

PERIOD_SECONDS = 5.0
OPEN = ("running", "failed", "stopped")


@contextlib.contextmanager
def progress_page(folder: Path) -> Iterator[None]:
    """Keep the bars of the flow run that calls this up to date while the block runs.

    Args:
        folder: runs/<id> of the run.
    """
    if flow_run.id is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, UUID(str(flow_run.id)), stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=PERIOD_SECONDS)


def progress_bars(events: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """Return {key of the artifact: (percent, description)} of a run's events."""
    planned = next((event["stages"] for event in events if event["kind"] == "plan"), [])
    endings = stage_endings(events)
    ended = [item for item in endings if item["status"] not in OPEN]
    bars = {}
    if planned:
        bars["stages"] = (100.0 * len(ended) / len(planned), f"{len(ended)} of {len(planned)} stages")
    worked = [item for item in endings if item["status"] in ("ran", "resumed", *OPEN)]
    if worked:
        bars["stage-at-work"] = _stage_bar(worked[-1])
    return bars


def _stage_bar(item: dict[str, Any]) -> tuple[float, str]:
    """Return the bar of the stage at work, or of the last that was."""
    if item["status"] not in OPEN:
        return 100.0, f"{item['name']}: {item['status']}, {item['seconds']:.0f} s"
    entry = last_progress(Path(item["folder"])) if item["folder"] else None
    done, total = (entry["done"], entry["total"]) if entry else (0, 0)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in entry["shown"].items()) if entry else ""
    return 100.0 * done / total if total else 0.0, f"{item['name']}: {item['status']}, {done} of {total or '?'} steps{', ' + shown if shown else ''}"


def _follow(folder: Path, run: UUID, stop: threading.Event) -> None:
    written: dict[str, tuple[float, str]] = {}
    ids: dict[str, UUID] = {}
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:
        while True:
            is_last = stop.wait(PERIOD_SECONDS)
            for key, bar in progress_bars(read_events(folder)).items():
                if written.get(key) != bar:
                    with contextlib.suppress(Exception):
                        ids[key] = _write(client, run, key, bar, ids.get(key))
                        written[key] = bar
            if is_last:
                return


def _write(client: SyncPrefectClient, run: UUID, key: str, bar: tuple[float, str], known: UUID | None) -> UUID:
    percent, description = bar
    if known is not None:
        client.update_artifact(known, ArtifactUpdate(data=percent, description=description))
        return known
    return client.create_artifact(ArtifactCreate(key=key, type="progress", data=percent, description=description, flow_run_id=run)).id
