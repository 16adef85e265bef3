"""Settings of the engine that trains: one process, several, or DeepSpeed."""

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Section


class EngineSettings(Section):
    """How a training stage is spread over processes; started by torchrun wherever `strategy` is not single."""

    strategy: Literal["single", "ddp", "fsdp", "deepspeed"] = Field(
        default="single", description="single: one process; ddp: whole weights on every rank; fsdp, deepspeed: weights or moments in parts"
    )
    zero_stage: Literal[1, 2, 3] = Field(default=2, description="deepspeed: 1 moments, 2 also gradients, 3 also weights lie in parts")
    offload: Literal["none", "optimizer", "parameters"] = Field(
        default="none", description="deepspeed: what is kept in the processor's memory; parameters (stage 3 only) includes the optimizer's"
    )
    config: str | None = Field(default=None, description="deepspeed: a JSON file in place of infra/deepspeed/zero<stage>.json")

    @model_validator(mode="after")
    def _offload_fits(self) -> "EngineSettings":
        if self.offload == "parameters" and self.zero_stage != 3:
            raise ValueError(f"offload: parameters needs zero_stage 3 (found {self.zero_stage}), where weights lie in parts")
        return self

    @property
    def is_single(self) -> bool:
        """Say whether one process trains."""
        return self.strategy == "single"
