"""What is checked with what: shapes, sizes, limits."""

from dataclasses import dataclass, field
from typing import Any

from bench.training.plan import SIZES
from components.settings.training import ModelSettings

LARGE = ModelSettings(vocabulary=3072, hidden=1024, layers=28, heads=16, key_value_heads=8, head_dimension=128, intermediate=3072, context=8704)
LIMITS = {
    "logprobs float32": 1e-4,  # nats, the largest of the tokens
    "logprobs bfloat16": 2e-2,  # nats, the mean of the tokens: ours in bfloat16 against transformers in float32
    "gradients float32": 1e-3,  # largest difference over the largest gradient
    "losses float32": 1e-3,  # of a step, relative
    "losses bfloat16": 3e-2,
    "sampler float32": 1e-3,  # nats, the largest of the tokens, against the processor's float32 scores
    "sampler bfloat16": 2e-2,  # nats, the mean
    "sampler gap bfloat16": 2e-2,  # nats a token, sampler against trainer on the device
    "run weights": 1e-5,  # a hundredth of a step, where gradients nearly cancel
    "vllm float32": 1e-3,  # nats, the largest of the probes' tokens
    "vllm bfloat16": 0.25,
    "decode growth": 1.25,  # of seconds a token from the shortest context to the longest, over that of the reads
    "train growth": 1.6,  # the same over the operations: FlashAttention 2 multiplies more slowly than Hopper's plain products (1.45 on an H100)
}


@dataclass(frozen=True)
class Plan:
    """One run."""

    agreement: ModelSettings
    speed: ModelSettings
    speed_precision: str
    lengths: tuple[int, ...]  # of sequences whose scores are compared
    steps: int  # of each loop
    prompts: int  # of a rollout
    prompt_tokens: int
    samples: int
    new_tokens: int
    agreement_tokens: int  # drawn a row where agreement is checked
    micro_tokens: int
    contexts: tuple[int, ...]  # of the curve
    curve_tokens: int  # a training step, at every context
    curve_rows: int  # answers decoded side by side, at every context
    curve_new_tokens: int
    run_steps: int  # of the whole run that is killed; 0: no whole runs
    strategy_steps: int  # of those on several processes: few, or rounding draws another token and runs part
    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)  # the runs on several processes, by name; files from the project


FULL = Plan(
    agreement=SIZES["10"], speed=LARGE, speed_precision="bfloat16", lengths=(7, 60, 200, 480), steps=4, prompts=16, prompt_tokens=256, samples=8,
    new_tokens=256, agreement_tokens=64, micro_tokens=16384, contexts=(512, 1024, 2048, 4096, 8192), curve_tokens=32768, curve_rows=32, curve_new_tokens=256, run_steps=40, strategy_steps=4,
    strategies={
        "ddp": {"strategy": "ddp"}, "fsdp": {"strategy": "fsdp"},
        **{name: {"strategy": "deepspeed", "config": f"infra/deepspeed/{name}.json"} for name in ("zero1", "zero2", "zero3", "zero3-offload")},
    },
)  # fmt: skip
REHEARSAL = Plan(
    agreement=SIZES["tiny"], speed=SIZES["tiny"], speed_precision="float32", lengths=(7, 30), steps=2, prompts=4, prompt_tokens=16, samples=4, new_tokens=8, agreement_tokens=8,
    micro_tokens=512, contexts=(32, 64), curve_tokens=128, curve_rows=4, curve_new_tokens=8, run_steps=12, strategy_steps=3, strategies={"ddp": {"strategy": "ddp"}},
)  # fmt: skip
