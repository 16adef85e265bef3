"""Jobs that work for a run that has ended: found by their labels, deleted before new ones are made.

A job belongs to the folder it works in. Ours may be swept by us alone, as one run at a time works in a folder: those of other
runs are left only where the run was killed (it wrote no end) and the job makes what is wanted now, so that it can be taken
over. A job whose folder is gone belongs to nobody.
"""

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.errors import StorageError, UserError
from components.launch.kubernetes_ends import is_over
from components.launch.kubernetes_job import FOLDER_NOTE, KEY_NOTE, PROJECT, RUN_LABEL, STAGE_LABEL
from components.pipeline.events import RUNS, last_end, read_events
from components.pipeline.graph import load_graph
from components.pipeline.stage_key import stage_inputs, stage_key

if TYPE_CHECKING:
    from components.launch.kubernetes_backend import KubernetesBackend

Object = dict[str, Any]


def sweep_orphans(backend: "KubernetesBackend") -> list[str]:
    """Count what this folder's jobs have used, delete those at work that are orphans, and return their names."""
    swept = []
    for job in backend.jobs_where(f"app.kubernetes.io/component=trainer,{RUN_LABEL}"):
        name = job["metadata"]["name"]
        if _folder_here(job["metadata"].get("annotations", {}).get(FOLDER_NOTE, ""), backend.cluster.mount) == backend.root.resolve():
            backend.count_hours(backend.patiently(lambda name=name: backend.pods_of(name)))
        if not is_over(job) and is_orphan(backend, job):
            backend.remove(name, grace_seconds=backend.settings.system.grace_seconds)
            swept.append(name)
    return swept


def is_orphan(backend: "KubernetesBackend", job: Object) -> bool:
    """Say whether a job at work has nobody who waits for it."""
    labels, notes = job["metadata"]["labels"], job["metadata"].get("annotations", {})
    folder = _folder_here(notes.get(FOLDER_NOTE, ""), backend.cluster.mount)
    if folder is None or not folder.is_dir():
        return folder is not None
    if folder != backend.root.resolve() or labels[RUN_LABEL] == backend.run_id:
        return False
    run = backend.root / RUNS / labels[RUN_LABEL]
    has_ended = not run.is_dir() or last_end(read_events(run)) is not None
    return has_ended or notes.get(KEY_NOTE) != _present_key(backend, labels[STAGE_LABEL])


def _present_key(backend: "KubernetesBackend", stage: str) -> str | None:
    """Return the key of what a stage would make now, None where it cannot be told."""
    with contextlib.suppress(UserError, StorageError):
        return stage_key(stage_inputs(backend.root, load_graph(backend.root).row(stage), backend.settings))
    return None


def _folder_here(folder: str, mount: Path) -> Path | None:
    """Return where this machine sees a folder of the pods' volume; None for what is not on it."""
    try:
        return mount.resolve() / PurePosixPath(folder).relative_to(PROJECT)
    except ValueError:
        return None
