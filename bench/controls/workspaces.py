"""Workspaces: folders in which a stage finds its inputs under the paths of dvc.yaml, most of them links.

    seed-20/                      the recipe's own stages, at this seed
    seed-20/arms/<control>/       a stage once more, with one input of another content
    seed-20/scores/<model>/       a model's scores on the test split, one file a suite
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.pipeline.graph import StageRow
from components.pipeline.running import StageRun, run_stage, work_folder
from components.pipeline.stage_key import stage_inputs, stage_key
from components.settings.settings import Settings
from components.stage import StageContext
from components.storage.files import atomic_writer

PROJECT_FOLDERS = ("components", "data", "bench")


@dataclass(frozen=True)
class Work:
    """A stage in a workspace, ready to run."""

    root: Path
    row: StageRow
    settings: Settings
    function: Callable[[StageContext], None]

    @property
    def record_folder(self) -> Path:
        """Where its record and checkpoints lie."""
        return work_folder(self.root, self.row.name, stage_key(stage_inputs(self.root, self.row, self.settings)))

    def run(self) -> StageRun:
        """Run it, go on from its checkpoint, or take over what it had finished."""
        return run_stage(self.row, root=self.root, settings=self.settings, function=self.function)


def seed_workspace(project: Path, folder: Path) -> Path:
    """Make the folder of one seed: the project's code and data, none of its artifacts."""
    return linked_workspace(folder, {name: project / name for name in PROJECT_FOLDERS})


def linked_workspace(folder: Path, links: Mapping[str, Path]) -> Path:
    """Make a folder whose `links` (path inside it → where that leads) stand; what else is in it stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, target in links.items():
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{link.name}.part")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target.absolute())
        os.replace(temporary, link)
    return folder


def arm_workspace(seed_folder: Path, name: str, row: StageRow, *, changed: Mapping[str, Path | str]) -> Path:
    """Make the workspace of a control: all inputs of the row are the seed's, but the changed ones.

    Args:
        changed: input path → another file or folder, or the text of a file.
    """
    folder = seed_folder / "arms" / name
    links = {path: seed_folder / path for path in row.inputs if path not in changed}
    linked_workspace(folder, links | {path: value for path, value in changed.items() if isinstance(value, Path)})
    for path, value in changed.items():
        if isinstance(value, str):
            with atomic_writer(folder / path) as stream:
                stream.write(value)
    return folder
