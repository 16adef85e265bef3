"""Close the runs that MLflow has as running though the process that opened them is gone.

A `retrain` names its process in the tag `quarkmed.process`. A run without that tag is from before; it is taken for dead
where the caller holds the lock of the project's folder. A process of another host cannot be looked at from here, so its run
is left open unless the caller says that nothing works elsewhere.
"""

from pathlib import Path
from typing import Any

from components.registry.process_names import process_state
from components.tracking.addresses import is_made
from components.tracking.tracking_store import experiment_id, open_client

PROCESS = "quarkmed.process"
MAXIMUM = 1000


def close_dead_runs(root: str, *, run: str = "", takes_unnamed: bool = True, elsewhere: bool = False) -> list[str]:
    """Set dead runs, and what stands as running below them, to KILLED; return a sentence about each.

    Args:
        run: the caller's own run, left alone.
        takes_unnamed: whether a run that names no process counts as dead.
        elsewhere: whether runs of other hosts count as dead.
    """
    folder = Path(root)
    if not is_made(folder):
        return []
    client = open_client(folder)
    found = client.search_runs([experiment_id(client, folder)], "attributes.status = 'RUNNING'", max_results=MAXIMUM)
    said = []
    for item in found:
        name = item.data.tags.get("quarkmed.run", "")
        if not name or name == run:
            continue
        state = _state(item.data.tags.get(PROCESS, ""), takes_unnamed=takes_unnamed)
        if state == "dead" or (state == "elsewhere" and elsewhere):
            for below in (other for other in found if other.data.tags.get("mlflow.parentRunId") == item.info.run_id):
                client.set_terminated(below.info.run_id, "KILLED")
            client.set_terminated(item.info.run_id, "KILLED")
            said.append(f"closed run {name} in MLflow: its process is gone")
        elif state == "elsewhere":
            said.append(f"run {name} stands as running in MLflow on {_host(item)}, which cannot be looked at from here: left open")
    return said


def _state(process: str, *, takes_unnamed: bool) -> str:
    if not process:
        return "dead" if takes_unnamed else "alive"
    return process_state(process)


def _host(item: Any) -> str:
    return str(item.data.tags.get(PROCESS, "")).partition(":")[0]
