"""A training plan on paper: the machines, the two GRPO stages, and what is assumed about how well they run."""

from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from components.errors import SettingsError
from components.settings.base import Section
from components.settings.explaining import explain_problems
from components.settings.settings import read_yaml


class HardwareSettings(Section):
    """One kind of GPU node. Defaults: NVIDIA H100 SXM (data sheet), eight a node, one 400 Gb/s link a GPU."""

    gpus_per_node: int = Field(default=8, ge=1, le=72)
    memory_gigabytes: float = Field(default=80.0, gt=0, le=1000, description="10⁹ bytes a GPU")
    bandwidth_gigabytes: float = Field(default=3350.0, gt=0, le=50_000, description="10⁹ bytes a second, of a GPU's memory")
    teraflops: float = Field(default=989.0, gt=0, le=50_000, description="10¹² bf16 operations a second a GPU, dense")
    network_gigabytes: float = Field(default=50.0, gt=0, le=2000, description="10⁹ bytes a second a GPU, between nodes")
    host_gigabytes: float = Field(default=50.0, gt=0, le=1000, description="10⁹ bytes a second a GPU, to the node's own memory")


class AssumedShares(Section):
    """What no formula gives; each is printed beside the result."""

    update_mfu: float = Field(default=0.40, gt=0, le=1, description="share of the GPUs' operations that updates and scoring reach")
    decode_share: float = Field(default=0.60, gt=0, le=1, description="share of the decode floor that the sampler reaches")
    usable_memory: float = Field(default=0.90, gt=0, le=1, description="share of a GPU's memory that may be planned with")
    lowest_pass_rate: float = Field(default=0.05, ge=0, lt=1, description="prompts' pass rates are taken as uniform from here …")
    highest_pass_rate: float = Field(default=0.95, gt=0, le=1, description="… to here, for the share of groups that carry signal")

    @model_validator(mode="after")
    def _is_a_range(self) -> "AssumedShares":
        if self.lowest_pass_rate >= self.highest_pass_rate:
            raise ValueError(f"lowest_pass_rate ({self.lowest_pass_rate}) must be below highest_pass_rate ({self.highest_pass_rate})")
        return self


class TrainerShape(Section):
    """How the trained weights lie on the GPUs."""

    zero_stage: int = Field(default=3, ge=0, le=3, description="what is divided over the GPUs: 1 moments, 2 gradients too, 3 weights too (arXiv:1910.02054)")
    gradient_bytes: int = Field(default=2, ge=2, le=4, description="bytes a gradient")
    recompute: bool = Field(default=True, description="compute each layer anew in the backward (arXiv:1604.06174)")
    micro_tokens: int = Field(default=8192, ge=64, description="tokens of one forward pass of one GPU")
    tensor_parallel: int = Field(default=0, ge=0, le=64, description="GPUs a sampler's copy is spread over; 0: the fewest that leave room")


class StageShape(Section):
    """One GRPO stage; lengths are means over answers, in tokens."""

    name: str
    prompts: int = Field(ge=1, le=100_000_000)
    epochs: float = Field(default=1.0, gt=0, le=100, description="times each prompt is sampled for")
    completions: tuple[int, ...] = Field(default=(8, 32), min_length=1, description="group sizes to plan for, one row each")
    prompts_per_step: int = Field(default=128, ge=1)
    prompt_tokens: int = Field(ge=1, le=1_000_000)
    answer_tokens: int = Field(ge=1, le=1_000_000)
    max_new_tokens: int = Field(ge=1, le=1_000_000)
    has_reference: bool = Field(default=True, description="score every answer under the reference too (kl_weight above 0)")
    reward_models: int = Field(default=0, ge=0, le=16, description="reward models of the trained model's size that score every answer")

    @model_validator(mode="after")
    def _lengths_fit(self) -> "StageShape":
        if self.answer_tokens > self.max_new_tokens:
            raise ValueError(f"answer_tokens ({self.answer_tokens}) is a mean and cannot exceed max_new_tokens ({self.max_new_tokens})")
        if min(self.completions) < 2:
            raise ValueError(f"completions {list(self.completions)}: a group needs at least 2 answers to be compared")
        return self


REASONING = StageShape(name="grpo_reasoning", prompts=70_000, prompt_tokens=300, answer_tokens=1000, max_new_tokens=4096)
GENERAL = StageShape(name="grpo_general", prompts=80_000, prompt_tokens=400, answer_tokens=600, max_new_tokens=2048, reward_models=2)


class SizingSettings(Section):
    """A whole plan; complete by default."""

    hardware: HardwareSettings = HardwareSettings()
    assumed: AssumedShares = AssumedShares()
    trainer: TrainerShape = TrainerShape()
    stages: tuple[StageShape, ...] = Field(default=(REASONING, GENERAL), min_length=1)
    nodes: tuple[int, ...] = Field(default=(), description="node counts to plan for; empty: the fewest that hold the model, then 2, 4 and 8 times as many")


def load_sizing(path: Path | None) -> SizingSettings:
    """Read a plan's YAML; None: the defaults.

    Raises:
        SettingsError: file missing, not YAML, an unknown key (with the nearest right one) or a value out of range.
    """
    if path is None:
        return SizingSettings()
    try:
        return SizingSettings.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SettingsError(explain_problems(error, path, SizingSettings)) from None
