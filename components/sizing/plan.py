"""A plan of both GRPO stages: the fewest nodes that hold the model, and hours and GPU-hours for each count of nodes."""

import math
from dataclasses import dataclass

from components.errors import SettingsError
from components.settings.sizing import SizingSettings, StageShape
from components.sizing.memory import TrainerMemory, answers_at_once, sampler_weights, trainer_memory
from components.sizing.shape import DecoderShape
from components.sizing.speed import GIGA, StepTimes, fewest_parallel, live_share, step_times

MOST_NODES = 4096
GROWTH = (1, 2, 4, 8)  # times the fewest nodes, where no counts are asked for


@dataclass(frozen=True)
class StagePlan:
    """One stage with one group size on one count of nodes."""

    stage: StageShape
    completions: int
    nodes: int
    gpus: int
    steps: int
    live_share: float
    times: StepTimes

    @property
    def hours(self) -> float:
        """Of the whole stage."""
        return self.steps * self.times.total / 3600

    @property
    def gpu_hours(self) -> float:
        """Hours times GPUs."""
        return self.hours * self.gpus


@dataclass(frozen=True)
class Plan:
    """Everything a plan says; `memory` is of one GPU at the fewest nodes."""

    shape: DecoderShape
    settings: SizingSettings
    parallel: int
    fewest_nodes: int
    memory: TrainerMemory
    host_bytes: float  # a node, for what is put aside while the sampler works
    rows: tuple[StagePlan, ...]


def make_plan(shape: DecoderShape, settings: SizingSettings) -> Plan:
    """Plan a model's two GRPO stages.

    Raises:
        SettingsError: the model does not fit on any count of nodes, or not on one that was asked for; says what fills the memory.
    """
    hardware = settings.hardware
    parallel = fewest_parallel(shape, settings.trainer, hardware, settings.assumed)
    if parallel == 0 or parallel > hardware.gpus_per_node:
        weights = sampler_weights(shape, tensor_parallel=hardware.gpus_per_node) / GIGA
        raise SettingsError(
            f"the sampler's weights take {weights:.1f} GB a GPU even over a whole node of {hardware.gpus_per_node}, too much beside a cache in "
            f"hardware.memory_gigabytes ({hardware.memory_gigabytes:g}); plan for larger GPUs or more of them a node"
        )
    fewest = _fewest_nodes(shape, settings, parallel)
    counts = settings.nodes or tuple(fewest * factor for factor in GROWTH)
    for count in counts:
        if not _fits(shape, settings, count, parallel):
            raise SettingsError(f"nodes: {count} do not hold the model ({_filled(shape, settings, count)}); the fewest that do are {fewest}")
    rows = [
        _stage_plan(shape, settings, stage, completions=completions, nodes=count, parallel=parallel)
        for stage in settings.stages for completions in stage.completions for count in counts
    ]  # fmt: skip
    memory = _memory(shape, settings, fewest)
    return Plan(shape, settings, parallel, fewest, memory, memory.state * min(hardware.gpus_per_node, fewest * hardware.gpus_per_node), tuple(rows))


def _stage_plan(shape: DecoderShape, settings: SizingSettings, stage: StageShape, *, completions: int, nodes: int, parallel: int) -> StagePlan:
    gpus = nodes * settings.hardware.gpus_per_node
    times = step_times(
        shape, stage, completions=completions, gpus=gpus, parallel=parallel, memory=_memory(shape, settings, nodes),
        hardware=settings.hardware, assumed=settings.assumed, trainer=settings.trainer,
    )  # fmt: skip
    share = live_share(completions, lowest=settings.assumed.lowest_pass_rate, highest=settings.assumed.highest_pass_rate)
    return StagePlan(stage, completions, nodes, gpus, math.ceil(stage.prompts * stage.epochs / stage.prompts_per_step), share, times)


def _fewest_nodes(shape: DecoderShape, settings: SizingSettings, parallel: int) -> int:
    nodes = 1
    while nodes <= MOST_NODES:
        if _fits(shape, settings, nodes, parallel):
            return nodes
        nodes *= 2
    raise SettingsError(
        f"the model fits on no count of nodes up to {MOST_NODES}: {_filled(shape, settings, MOST_NODES)}; "
        "raise trainer.zero_stage, lower trainer.micro_tokens, set trainer.recompute or plan for larger GPUs"
    )


def _fits(shape: DecoderShape, settings: SizingSettings, nodes: int, parallel: int) -> bool:
    usable = settings.hardware.memory_gigabytes * GIGA * settings.assumed.usable_memory
    contexts = [stage.prompt_tokens + stage.max_new_tokens for stage in settings.stages]
    has_room = all(answers_at_once(shape, memory=usable, tensor_parallel=parallel, context=context) >= 1 for context in contexts)
    return has_room and _memory(shape, settings, nodes).total <= usable


def _memory(shape: DecoderShape, settings: SizingSettings, nodes: int) -> TrainerMemory:
    has_reference = any(stage.has_reference for stage in settings.stages)
    reward_models = max(stage.reward_models for stage in settings.stages)
    return trainer_memory(shape, settings.trainer, gpus=nodes * settings.hardware.gpus_per_node, has_reference=has_reference, reward_models=reward_models)


def _filled(shape: DecoderShape, settings: SizingSettings, nodes: int) -> str:
    memory = _memory(shape, settings, nodes)
    parts = ("weights", "gradients", "optimiser", "reference", "reward_models", "activations")
    return f"of {settings.hardware.memory_gigabytes:g} GB a GPU: " + ", ".join(f"{name} {getattr(memory, name) / GIGA:.1f}" for name in parts)
