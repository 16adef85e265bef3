"""Which process runs a flow run, so that one whose process was killed can be told from one that works.

`var/flow_runs/<id>.json` is written when a flow begins and removed when it ends or suspends; a `retrain` writes it in the
workspace it works in. Prefect itself leaves a killed flow run at Running for ever (Prefect issue 21022).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from components.errors import StorageError
from components.registry.process_names import process_name, process_state
from components.storage.files import read_json, write_json

FOLDER = "var/flow_runs"
WORKSPACES = f"var/worktrees/*/{FOLDER}"


def note_flow_run(root: Path) -> str:
    """Note that this process runs the present flow run; return the flow run's id, empty outside one."""
    from prefect.runtime import flow_run

    identity = str(flow_run.get_id() or "")
    if identity:
        write_json(root / FOLDER / f"{identity}.json", {"process": process_name()})
    return identity


@contextlib.contextmanager
def noted_flow_run(root: Path) -> Iterator[str]:
    """Note the present flow run while the block runs, and yield its id."""
    identity = note_flow_run(root)
    try:
        yield identity
    finally:
        forget_flow_run(root, identity)


def dead_flow_runs(root: Path, *, elsewhere: bool = False) -> list[str]:
    """Return the ids of the noted flow runs whose process is gone.

    Args:
        elsewhere: whether processes of other hosts count as gone.
    """
    found = []
    for path in _notes(root, "*"):
        try:
            state = process_state(str(read_json(path)["process"]))
        except (StorageError, KeyError, TypeError):
            state = "dead"
        if state == "dead" or (state == "elsewhere" and elsewhere):
            found.append(path.stem)
    return found


def forget_flow_run(root: Path, identity: str) -> None:
    """Remove the note of a flow run that ended or was closed; nothing where the id is empty."""
    for path in _notes(root, identity) if identity else []:
        path.unlink(missing_ok=True)


def _notes(root: Path, name: str) -> list[Path]:
    return sorted([*root.glob(f"{FOLDER}/{name}.json"), *root.glob(f"{WORKSPACES}/{name}.json")])
