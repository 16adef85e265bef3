"""Seconds of the parts of a GRPO step, from operations and bytes.

Decode floor of one step of B live answers with mean context c on a copy over n GPUs (roofline, doi:10.1145/1498765.1498785;
arXiv:2211.05102 §2 for decoding):

    t ≥ max((2P + B · c · kv) / (n · bandwidth), (2N · B + 4LHS · c · B) / (n · operations))

with P parameters in two bytes each, N those multiplied a token, kv the cache's bytes a token.
"""

from dataclasses import dataclass

from components.settings.sizing import AssumedShares, HardwareSettings, StageShape, TrainerShape
from components.sizing.memory import WEIGHT_BYTES, TrainerMemory, answers_at_once, sampler_weights
from components.sizing.shape import DecoderShape, pairs_seen

GIGA, TERA = 1e9, 1e12
WEIGHT_ROOM = 0.6  # of the usable memory that a sampler's weights may take, so that a cache fits beside them


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one optimiser step's parts, and what the sampler was reckoned with."""

    generate: float
    score: float
    update: float
    sync: float
    swap: float
    live_answers: int  # a copy of the sampler
    tokens_per_second: float  # of all copies

    @property
    def total(self) -> float:
        """One step; nothing overlaps."""
        return self.generate + self.score + self.update + self.sync + self.swap


def decode_step_seconds(shape: DecoderShape, *, answers: float, context: float, gpus: int, bandwidth: float, flops: float, weight_bytes: int = WEIGHT_BYTES) -> float:
    """Return the floor of one decode step; bandwidth and flops a GPU, a second."""
    moved = shape.parameters * weight_bytes + answers * context * shape.cache_bytes(bytes_per_value=weight_bytes)
    computed = shape.forward_flops(tokens=answers, headed=answers, seen=answers * context)
    return max(moved / (gpus * bandwidth), computed / (gpus * flops))


def fewest_parallel(shape: DecoderShape, trainer: TrainerShape, hardware: HardwareSettings, assumed: AssumedShares) -> int:
    """Return the GPUs a sampler's copy is spread over: as asked, else the first power of two within a node that leaves room.

    Returns 0 where a whole node does not hold the weights.
    """
    if trainer.tensor_parallel:
        return trainer.tensor_parallel
    room = hardware.memory_gigabytes * GIGA * assumed.usable_memory * WEIGHT_ROOM
    parallel = 1
    while parallel <= hardware.gpus_per_node:
        if sampler_weights(shape, tensor_parallel=parallel) <= room:
            return parallel
        parallel *= 2
    return 0


def live_share(completions: int, *, lowest: float, highest: float) -> float:
    """Return the share of groups with both right and wrong answers, pass rates uniform from `lowest` to `highest`.

    1 − E[p^G + (1 − p)^G]; the integral of p^G is p^(G+1) / (G + 1).
    """
    power = completions + 1

    def mean(low: float, high: float) -> float:
        return (high**power - low**power) / (power * (high - low))

    return 1.0 - mean(lowest, highest) - mean(1.0 - highest, 1.0 - lowest)


def step_times(
    shape: DecoderShape, stage: StageShape, *, completions: int, gpus: int, parallel: int, memory: TrainerMemory,
    hardware: HardwareSettings, assumed: AssumedShares, trainer: TrainerShape,
) -> StepTimes:  # fmt: skip
    """Return the seconds of one step of a stage on `gpus`, sampler and trainer taking turns on the same ones."""
    flops, bandwidth = hardware.teraflops * TERA, hardware.bandwidth_gigabytes * GIGA
    copies = max(1, gpus // parallel)
    answers = stage.prompts_per_step * completions
    context = stage.prompt_tokens + stage.answer_tokens / 2
    room = answers_at_once(shape, memory=hardware.memory_gigabytes * GIGA * assumed.usable_memory, tensor_parallel=parallel, context=stage.prompt_tokens + stage.answer_tokens)
    live = max(1, min(-(-answers // copies), room))
    decode = decode_step_seconds(shape, answers=live, context=context, gpus=parallel, bandwidth=bandwidth, flops=flops) / assumed.decode_share
    steps = max(answers / copies * stage.answer_tokens / live, stage.max_new_tokens)  # the longest answer is waited for
    rate = assumed.update_mfu * flops * gpus
    prefill = shape.forward_flops(tokens=stage.prompts_per_step * stage.prompt_tokens, headed=0, seen=stage.prompts_per_step * stage.prompt_tokens**2 / 2, read=stage.prompts_per_step) / rate
    generate = steps * decode + prefill
    return StepTimes(
        generate=generate,
        score=_score_seconds(shape, stage, completions=completions, rate=rate),
        update=update_seconds(shape, stage, completions=completions, gpus=gpus, hardware=hardware, assumed=assumed, trainer=trainer),
        sync=shape.parameters * WEIGHT_BYTES / node_bandwidth(hardware, gpus=gpus),
        swap=2 * memory.state / (hardware.host_gigabytes * GIGA),
        live_answers=live,
        tokens_per_second=answers * stage.answer_tokens / generate,
    )


def update_seconds(
    shape: DecoderShape, stage: StageShape, *, completions: int, gpus: int, hardware: HardwareSettings, assumed: AssumedShares, trainer: TrainerShape
) -> float:
    """Return the seconds of one update: its operations, or what ZeRO-3 moves where that takes longer (they overlap).

    Live groups alone are updated on. ZeRO-3 moves the weights three times a pass (two gathers, one reduce; arXiv:1910.02054
    §7.2), once more for the reference.
    """
    groups = stage.prompts_per_step * live_share(completions, lowest=assumed.lowest_pass_rate, highest=assumed.highest_pass_rate)
    headed = groups * completions * stage.answer_tokens
    tokens = groups * stage.prompt_tokens + headed
    seen = pairs_seen(prompts=groups, prompt_tokens=stage.prompt_tokens, answers_per_prompt=completions, answer_tokens=stage.answer_tokens)
    operations = shape.update_flops(tokens=tokens, headed=headed, seen=seen, recompute=trainer.recompute)
    if stage.has_reference:
        operations += shape.forward_flops(tokens=tokens, headed=headed, seen=seen, read=headed)
    computed = operations / (assumed.update_mfu * hardware.teraflops * TERA * gpus)
    if gpus == 1:
        return computed
    passes = -(-tokens // (trainer.micro_tokens * gpus)) if trainer.zero_stage == 3 else 1.0
    rounds = (3.0 + stage.has_reference) * passes if trainer.zero_stage == 3 else 2.0
    moved = rounds * shape.parameters * WEIGHT_BYTES * (gpus - 1) / gpus
    return max(computed, moved / node_bandwidth(hardware, gpus=gpus))


def node_bandwidth(hardware: HardwareSettings, *, gpus: int) -> float:
    """Return the bytes a second at which every GPU gets the same tensor: all links of a node carry a part each."""
    return hardware.network_gigabytes * GIGA * min(gpus, hardware.gpus_per_node)


def _score_seconds(shape: DecoderShape, stage: StageShape, *, completions: int, rate: float) -> float:
    """Return the seconds of the reward models' passes over all answers of a step; rules cost nothing here."""
    tokens = stage.prompts_per_step * (stage.prompt_tokens + completions * stage.answer_tokens)
    seen = pairs_seen(prompts=stage.prompts_per_step, prompt_tokens=stage.prompt_tokens, answers_per_prompt=completions, answer_tokens=stage.answer_tokens)
    return stage.reward_models * shape.forward_flops(tokens=tokens, headed=0, seen=seen, read=stage.prompts_per_step * completions) / rate
