"""The plan's formulas against a recorded run: predicted and measured seconds of its parts, from its own token counts.

The record of a GRPO run (a stage's or a recipe's) holds seconds and tokens of every step. What a formula says at the
machine's full speed, divided by what was measured, is the share of that speed the run reached: near the plan's assumed
shares on a GPU, less on a processor with a small model. The ratio of policy to reference does not depend on the
machine's speed and should agree.
"""

from dataclasses import dataclass
from pathlib import Path

from components.errors import DataError
from components.recorder import read_record
from components.sizing.shape import DecoderShape, pairs_seen
from components.sizing.speed import decode_step_seconds

NEEDED = ("seconds_generate", "seconds_reference", "seconds_policy", "sampled_tokens", "sampled_groups", "answer_tokens_mean", "live_groups", "update_tokens", "packed_tokens")
FLOAT_BYTES = 4
ROWS = 512  # answers the native sampler decodes side by side (components/generation/native_sampler.py)


@dataclass(frozen=True)
class RunCounts:
    """Sums over a run's steps."""

    steps: int
    seconds: dict[str, float]
    sampled_tokens: float
    sampled_groups: float
    answers: float
    update_tokens: float
    packed_tokens: float
    live_groups: float

    @property
    def prompt_tokens(self) -> float:
        """Mean tokens of a prompt that was updated on."""
        return (self.packed_tokens - self.update_tokens) / max(self.live_groups, 1)

    @property
    def answer_tokens(self) -> float:
        """Mean tokens of an answer that was sampled."""
        return self.sampled_tokens / max(self.answers, 1)


@dataclass(frozen=True)
class Comparison:
    """One line: what the formula says at full speed, what was measured."""

    what: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured if self.measured else float("nan")


def read_counts(folder: Path) -> RunCounts:
    """Sum a GRPO run's record.

    Raises:
        DataError: no record there, or not one of a GRPO run.
    """
    steps = {entry["step"]: entry["values"] for entry in read_record(folder) if entry["kind"] == "metrics" and set(NEEDED) <= set(entry["values"])}
    if not steps:
        raise DataError(f"{folder}: no record of a GRPO run; name a folder with a record.jsonl, such as <output>/record of `quarkmed train`")
    rows = list(steps.values())

    def total(name: str) -> float:
        return float(sum(row[name] for row in rows))

    return RunCounts(
        steps=len(rows),
        seconds={name: total(f"seconds_{name}") for name in ("generate", "reference", "policy")},
        sampled_tokens=total("sampled_tokens"),
        sampled_groups=total("sampled_groups"),
        answers=sum(row["sampled_tokens"] / row["answer_tokens_mean"] for row in rows if row["answer_tokens_mean"]),
        update_tokens=total("update_tokens"),
        packed_tokens=total("packed_tokens"),
        live_groups=total("live_groups"),
    )


def compare(shape: DecoderShape, counts: RunCounts, *, flops: float, bandwidth: float) -> list[Comparison]:
    """Return predicted and measured figures of a run.

    Args:
        flops: products the machine computes a second, in the run's precision.
        bandwidth: bytes it reads a second.
    """
    answers_a_group = counts.answers / max(counts.sampled_groups, 1)
    updated = counts.update_tokens / counts.answer_tokens / max(counts.live_groups, 1)  # answers of a live group that entered the loss
    seen = pairs_seen(prompts=counts.live_groups, prompt_tokens=counts.prompt_tokens, answers_per_prompt=updated, answer_tokens=counts.answer_tokens)
    forward = shape.forward_flops(tokens=counts.packed_tokens, headed=counts.update_tokens, seen=seen, read=counts.update_tokens)
    update = shape.update_flops(tokens=counts.packed_tokens, headed=counts.update_tokens, seen=seen, recompute=False)
    rows = [
        Comparison("policy, forward and backward (s)", update / flops, counts.seconds["policy"]),
        Comparison("sampling (s)", _sampling_floor(shape, counts, answers_a_group, flops=flops, bandwidth=bandwidth), counts.seconds["generate"]),
    ]
    if counts.seconds["reference"] > 0.01 * counts.seconds["policy"]:
        rows.insert(0, Comparison("reference, forward (s)", forward / flops, counts.seconds["reference"]))
        rows.append(Comparison("policy over reference", update / forward, counts.seconds["policy"] / counts.seconds["reference"]))
    return rows


def _sampling_floor(shape: DecoderShape, counts: RunCounts, answers_a_group: float, *, flops: float, bandwidth: float) -> float:
    """Return the floor of all decode steps and prefills; rows leave as they finish, so the mean length counts."""
    together = min(ROWS, counts.answers / counts.steps)
    context = counts.prompt_tokens + counts.answer_tokens / 2
    step = decode_step_seconds(shape, answers=together, context=context, gpus=1, bandwidth=bandwidth, flops=flops, weight_bytes=FLOAT_BYTES)
    prompts = counts.sampled_tokens / (counts.answer_tokens * answers_a_group)
    prefill = shape.forward_flops(tokens=prompts * counts.prompt_tokens, headed=0, seen=prompts * counts.prompt_tokens**2 / 2, read=prompts) / flops
    return counts.sampled_tokens / together * step + prefill
