"""The key of a stage's result: the digest of everything that determines it.

Checkpoints, work folders and MLflow runs are named by it. It is made without DVC (SHA-256 of bytes), so that a stage
run where DVC is not installed has the same key.
"""

from pathlib import Path
from typing import Any

from components.errors import DataError
from components.lineage import digest_file, digest_value
from components.pipeline.graph import StageRow
from components.pipeline.named_folders import named_folders, refuse_missing_folders
from components.settings.settings import Settings

UNSEEN_FOLDERS = ("__pycache__",)
UNSEEN_ENDINGS = (".pyc", ".part")


def stage_inputs(root: Path, row: StageRow, settings: Settings) -> dict[str, Any]:
    """Return what determines a stage's result: {"stage", "inputs": {path or setting: digest}, "parameters": {section: values}}.

    A setting among the inputs stands for the folder it names.

    Raises:
        DataError: an input does not exist.
    """
    folders = named_folders(root, row, settings)
    refuse_missing_folders(folders)
    inputs = {path: path_digest(root, path, user=row.name) for path in row.inputs}
    inputs |= {setting: path_digest(root, str(folder), user=row.name) for setting, folder in folders.items()}
    return {
        "stage": row.name,
        "inputs": inputs,
        "parameters": {name: getattr(settings, name).model_dump(mode="json") for name in row.parameters},
    }


def stage_key(inputs: dict[str, Any]) -> str:
    """Return the digest of `stage_inputs`, 64 hexadecimal digits."""
    return digest_value(inputs)


def path_digest(root: Path, path: str, *, user: str) -> str:
    """Return the digest of a file, or of a folder's files without compiled and half-written ones.

    Raises:
        DataError: the path does not exist; `user` is the stage that needs it.
    """
    absolute = root / path
    if absolute.is_file():
        return digest_file(absolute)
    if absolute.is_dir():
        files = sorted(item for item in absolute.rglob("*") if item.is_file() and is_seen(item))
        return digest_value([[item.relative_to(absolute).as_posix(), digest_file(item)] for item in files])
    raise DataError(f"{path}: no such file or folder, but stage {user} reads it; run `make retrain`, which makes what is missing")


def is_seen(path: Path) -> bool:
    """Say whether a folder's digest counts a file: not where it is compiled or half-written."""
    return not path.name.endswith(UNSEEN_ENDINGS) and not any(part in UNSEEN_FOLDERS for part in path.parts)
