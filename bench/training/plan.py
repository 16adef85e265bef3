"""How much is measured: model sizes, batch sizes, steps a turn, pairs of turns."""

from dataclasses import dataclass

from components.settings.training import ModelSettings

COMMON = {"vocabulary": 3072, "head_dimension": 32, "context": 512}
SIZES = {
    "tiny": ModelSettings(vocabulary=1024, head_dimension=32, context=512, hidden=64, layers=2, heads=2, key_value_heads=1, intermediate=128),
    "1": ModelSettings(**COMMON, hidden=96, layers=4, heads=3, key_value_heads=1, intermediate=256),  # 0.98 million parameters
    "3": ModelSettings(**COMMON, hidden=192, layers=4, heads=6, key_value_heads=2, intermediate=512),  # 2.75, the laptop profile's
    "10": ModelSettings(**COMMON, hidden=320, layers=7, heads=10, key_value_heads=2, intermediate=896),  # 9.71
}
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Plan:
    """One run of the bench."""

    sizes: tuple[str, ...]
    threads: int = 2
    pairs: int = 5  # turns of each side
    rollout_prompts: int = 64
    samples: int = 8  # answers a prompt
    max_new_tokens: int = 32
    grpo_prompts: int = 32  # a step
    grpo_steps: int = 3  # a turn
    sft_batch: int = 32  # conversations a step
    sft_steps: int = 24  # a turn: an epoch
    preference_batch: int = 64  # pairs a step
    preference_steps: int = 6  # a turn
    peak_seconds: float = 1.0  # a product of matrices, at each shape and number type


def quick_plan(*, threads: int) -> Plan:
    """Return the smallest plan in which everything runs."""
    return Plan(
        sizes=("tiny",), threads=threads, pairs=1, rollout_prompts=4, samples=2, max_new_tokens=8, grpo_prompts=4, grpo_steps=1, sft_batch=4, sft_steps=2,
        preference_batch=4, preference_steps=1, peak_seconds=0.02,
    )  # fmt: skip
