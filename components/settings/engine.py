"""Settings of the engine that trains: one process, several, or DeepSpeed."""

from typing import Literal

from pydantic import Field

from components.settings.base import Section


class EngineSettings(Section):
    """How training is spread over processes; started by torchrun wherever `strategy` is not single."""

    strategy: Literal["single", "ddp", "fsdp", "deepspeed"] = Field(
        default="single",
        description="single: one process; ddp: whole weights on every rank, steps shared; fsdp, deepspeed: weights or moments in parts",
    )
    config: str = Field(
        default="infra/deepspeed/zero2.json",
        description="of strategy deepspeed: its JSON file, which says the ZeRO stage; the default lies in the project's folder",
    )

    @property
    def is_single(self) -> bool:
        """Say whether one process trains."""
        return self.strategy == "single"
