"""The processes a recipe is trained on: this one, or those that torchrun started:

    torchrun --nproc-per-node 2 --no-python .venv/bin/quarkmed train RECIPE      (engine.strategy: ddp | fsdp | deepspeed)

Process 0 records, writes checkpoints and the model; the others run the same training on the same inputs and keep nothing.
All see one output folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from components.errors import SettingsError
from components.settings.recipes import Recipe
from components.training.engines.deepspeed_config import read_deepspeed_config


@dataclass(frozen=True)
class Processes:
    """Which process this is among how many; `here` of them on this machine."""

    rank: int = 0
    count: int = 1
    here: int = 1

    @property
    def is_main(self) -> bool:
        """Say whether this is the one that records and writes."""
        return self.rank == 0


def processes_of(recipe: Recipe) -> Processes:
    """Return the processes torchrun started, or one.

    Raises:
        SettingsError: the recipe does not ask for them, asks for others, or names no DeepSpeed configuration that can be read.
    """
    count, engine = int(os.environ.get("WORLD_SIZE", "1")), recipe.engine
    if engine.is_single:
        if count > 1:
            raise SettingsError(
                f"train: the recipe is for one process, and torchrun started {count}: set engine.strategy to ddp, fsdp or deepspeed, "
                "or start it as `quarkmed train RECIPE`"
            )
        return Processes()
    if engine.strategy == "deepspeed":
        read_deepspeed_config(Path(engine.config), clip_norm=1.0)
    if "RANK" not in os.environ:
        raise SettingsError(
            f"engine.strategy: {engine.strategy} trains on the processes that torchrun starts; start the recipe as "
            "`torchrun --nproc-per-node 2 --no-python .venv/bin/quarkmed train RECIPE`, or set engine.strategy: single"
        )
    return Processes(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
