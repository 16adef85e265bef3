"""A training stage on several processes, started by torchrun:

    torchrun --nproc-per-node 2 --no-python .venv/bin/quarkmed stage sft      (engine.strategy: ddp | fsdp | deepspeed)

Rank 0 runs the stage as ever: it alone records, writes checkpoints and outputs, and publishes. The other ranks follow:
they run the same function on the same inputs and keep nothing. All ranks see one project folder (one machine, or a
shared file system). A rank that fails ends the others: torchrun stops them, and the stage goes on from its newest
checkpoint when started again.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import SettingsError
from components.observing.stage_watch import watched_stage
from components.pipeline.graph import StageRow, load_graph
from components.pipeline.running import (
    STAGE_TABLE,
    execute_stage,
    finished_run,
    stage_function,
    work_folder,
)
from components.pipeline.smaller_passes import smaller_passes
from components.pipeline.stage_key import stage_inputs, stage_key
from components.pipeline.withheld_words import withheld_words
from components.recorder import SilentRecorder
from components.settings.settings import Settings, load_settings
from components.stage import StageContext
from components.storage.artifact_store import ModelReference
from components.storage.read_checkpoints import ReadCheckpoints
from components.storage.store_address import open_store

ENGINE_SECTION = "engine"  # the params of a stage that may train on several processes name it


def is_launched() -> bool:
    """Say whether torchrun (or a launcher that speaks like it) started this process among several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def execute_ranked_stage(name: str, *, root: str, table: str = STAGE_TABLE, micro_divisor: int = 1) -> dict[str, Any] | None:
    """Run this process's part of a stage; return the `StageRun` as a dictionary on rank 0, None on the others.

    Raises:
        SettingsError: the stage runs in one process only, or the settings ask for one.
        QuarkmedError: whatever the stage raises.
    """
    folder = Path(root)
    settings, row = load_settings(folder / "params.yaml"), load_graph(folder).row(name)
    if ENGINE_SECTION not in row.parameters:
        raise SettingsError(f"stage {name} runs in one process; start it as `quarkmed stage {name}`")
    if settings.engine.is_single:
        raise SettingsError("engine.strategy is single, but torchrun started several processes; set it to ddp, fsdp or deepspeed")
    if int(os.environ["RANK"]) == 0:
        done = execute_stage(name, root=root, table=table, micro_divisor=micro_divisor)
    else:
        done = None
        follow_stage(row, root=folder, settings=settings, table=table, micro_divisor=micro_divisor)
    from components.training.engines.ranks import leave_ranks

    leave_ranks()
    return done


def follow_stage(row: StageRow, *, root: Path, settings: Settings, table: str = STAGE_TABLE, micro_divisor: int = 1) -> None:
    """Run a stage's function beside rank 0, keeping nothing; return at once where rank 0 has nothing to do."""
    key = stage_key(stage_inputs(root, row, settings))
    if finished_run(root, row, key) is not None:
        return
    folder, rank = work_folder(root, row.name, key), int(os.environ["RANK"])
    watch = watched_stage(row.name, folder, sample_seconds=settings.system.sample_seconds, rank=rank)
    with tempfile.TemporaryDirectory() as scratch, watch as heard, withheld_words(row):
        stage_function(row.name, table)(
            FollowerContext(
                name=row.name, root=root, all_settings=smaller_passes(settings, micro_divisor), parameters=row.parameters, inputs=row.inputs, outputs=row.outputs,
                recorder=SilentRecorder(heard=heard), checkpoints=ReadCheckpoints(folder / "checkpoints", key=key),
                store=open_store(root, settings), scratch=Path(scratch),
            )
        )  # fmt: skip


@dataclass(frozen=True)
class FollowerContext(StageContext):
    """A context whose outputs go to a scratch folder and whose models are not published."""

    scratch: Path = field(kw_only=True)

    def write(self, path: str) -> Path:
        """Return a place in the scratch folder for a declared output, its folder made."""
        target = self.scratch / self._declared(path, self.outputs, "outs").relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def publish_model(self, folder: Path, path: str, *, parent: str | None = None) -> ModelReference:
        """Publish nothing; the reference returned names no model."""
        return ModelReference(key="", digest="", size_bytes=0)
