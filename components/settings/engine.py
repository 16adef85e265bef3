"""Settings of the engine that trains: one process, or several."""

from typing import Literal

from pydantic import Field

from components.settings.base import Section


class EngineSettings(Section):
    """How a training stage is spread over processes; started by torchrun where `strategy` is not single."""

    strategy: Literal["single", "ddp"] = Field(default="single", description="single: one process; ddp: whole weights on every rank, steps shared")

    @property
    def is_single(self) -> bool:
        """Say whether one process trains."""
        return self.strategy == "single"
