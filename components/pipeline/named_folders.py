"""Folders a setting names (`sources.folder`, `model.folder`), often outside the project: their bytes are inputs like any other.

A stage's row of dvc.yaml lists such settings under `meta: {folders: […]}`, because DVC's `deps` cannot say "the folder
this parameter names, if any". Where one is set, the folder becomes a dependency of the loaded DVC stage, so that it is
hashed, recorded in dvc.lock and compared as the written ones are; and its digest is part of the stage's key.
"""

import os
from pathlib import Path
from typing import Any

from components.errors import DataError
from components.pipeline.graph import StageRow
from components.settings.settings import Settings


def named_folders(root: Path, row: StageRow, settings: Settings) -> dict[str, Path]:
    """Return {setting: absolute folder} of the row's folder settings that are not null."""
    values = {setting: _value(settings, setting) for setting in row.folders}
    return {setting: Path(os.path.normpath(root / Path(value).expanduser())) for setting, value in values.items() if value is not None}


def refuse_missing_folders(folders: dict[str, Path]) -> None:
    """Check that the named folders exist.

    Raises:
        DataError: one does not; names the setting.
    """
    for setting, folder in folders.items():
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; correct {setting} in params.yaml, or set it to null")


def add_dependencies(stage: Any, root: Path, folders: dict[str, Path]) -> None:
    """Make the named folders dependencies of a loaded DVC stage, with what dvc.lock recorded of them."""
    from dvc.dependency import loads_from
    from dvc.stage.loader import StageLoader

    if not folders:
        return
    paths = [os.path.relpath(folder, root) if folder.is_relative_to(root) else str(folder) for folder in folders.values()]
    stage.deps += loads_from(stage, paths)
    recorded = stage.dvcfile.lockfile_contents.get("stages", {}).get(stage.name)
    StageLoader.fill_from_lock(stage, recorded)


def _value(settings: Settings, setting: str) -> str | None:
    value: Any = settings
    for part in setting.split("."):
        value = getattr(value, part)
    return None if value is None else str(value)
