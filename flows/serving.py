"""The process that `quarkmed up` starts to run deployments: it registers them and starts a process for each run.

    python -m flows.serving

Prefect's `serve` rather than a work pool with a worker: on one machine it is one process to start and to stop, it needs no
pool and no template, and it runs the same infra/prefect.yaml that `prefect deploy` gives to a team's workers. Runs are
processes of their own in the project's folder, so one that is killed takes no other with it.

Before it takes new runs, those that were killed or stopped are scheduled again; they go on in their workspaces. Alive is
said by touching a file as long as the server is asked for work.
"""

import threading
import time
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import AwaitingRetry

from components.settings.settings import load_settings
from flows.deployments import PREFECT_FILE, read_deployments
from flows.own_workspaces import is_note_held, workspace_notes
from flows.service_catalogue import BEAT
from flows.services import SILENT_SECONDS

BEAT_SECONDS = 2.0
MAXIMUM_STARTS = 5
LOST = (StateType.RUNNING, StateType.PENDING, StateType.CRASHED, StateType.FAILED)


def main() -> None:
    """Serve the project's deployments until told to stop."""
    serve_deployments(Path.cwd(), Path.cwd() / PREFECT_FILE)


def serve_deployments(root: Path, prefect_file: Path) -> None:
    """Register the deployments of a file and run what is scheduled of them, until SIGTERM.

    Args:
        root: the project's folder, which is the present one.
    """
    import asyncio

    (root / BEAT).unlink(missing_ok=True)
    runner = Runner(name="quarkmed", pause_on_shutdown=False, limit=load_settings(root / "params.yaml").system.runs_at_once)
    for deployment in read_deployments(prefect_file):
        runner.add_deployment(deployment)
    for run in reschedule_lost_runs(root):
        print(f"run {run} was killed or stopped; it goes on", flush=True)
    threading.Thread(target=_beat, args=(runner, root / BEAT), daemon=True).start()
    asyncio.run(runner.start())


def reschedule_lost_runs(root: Path) -> list[str]:
    """Schedule again each flow run whose workspace was left by a kill or a stop, and return the runs' ids.

    Not one that a person cancelled, that failed of itself, or that was started `MAXIMUM_STARTS` times.
    """
    again = []
    with get_client(sync_client=True) as client:
        for note in workspace_notes(root):
            if note.flow_run is None or note.status == "failed" or is_note_held(root, note):
                continue
            try:
                found = client.read_flow_run(UUID(note.flow_run))
            except ObjectNotFound:
                continue
            if found.state_type in LOST and found.run_count < MAXIMUM_STARTS:
                client.set_flow_run_state(found.id, AwaitingRetry(message="was killed or stopped; goes on in its workspace"), force=True)
                again.append(note.run)
    return again


def _beat(runner: Runner, path: Path) -> None:
    while True:
        polled = runner.last_polled
        if polled is not None and time.time() - polled.timestamp() < SILENT_SECONDS:
            path.touch()
        time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main()
