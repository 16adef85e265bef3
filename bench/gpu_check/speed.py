"""Speed beside what the device allows: training steps against its products, decoding against its roofline, cost against context.

Seconds and floors are those the loops record of every step (components/training/floors.py); the first step of each run,
in which kernels are chosen and memory is taken, is left out.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from bench.gpu_check.agreement import random_ids
from bench.gpu_check.plan import Plan
from bench.training.ours import OPTIMISER, TimedRecorder, policy_steps
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.settings.training import PolicySettings, SupervisedSettings
from components.sizing.floors import Tree
from components.training.engines.creation import create_engine
from components.training.floors import StepFloors
from components.training.policy.groups import Answer, LiveGroup
from components.training.policy.update import update_policy
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Rate:
    """One kind of work: tokens a second, and the floor's share of the seconds it took (1: as fast as the device allows)."""

    name: str
    tokens_per_second: float
    floor_share: float


@dataclass(frozen=True)
class ContextCost:
    """Seconds a token at one context, measured and by operations or reads alone."""

    context: int
    train_seconds: float
    train_floor: float
    update_seconds: float
    update_floor: float
    decode_seconds: float
    decode_floor: float


def measure_rates(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> list[Rate]:
    """Measure supervised steps, then GRPO's update and sampling; memory's peak is the caller's to read."""
    return [_supervised_rate(model, tokenizer, plan, length=plan.prompt_tokens, name="supervised steps"), *_policy_rates(model, tokenizer, plan)]


def measure_contexts(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> list[ContextCost]:
    """Measure a supervised step, a GRPO update and decoding at every context of the plan, on about as many tokens."""
    costs = []
    for context in plan.contexts:
        trained = _supervised_steps(model, tokenizer, plan, length=context)
        tokens = sum(step["passed"] for step in trained)
        decode, floor = _decode(model, tokenizer, plan, context=context)
        drawn = plan.curve_rows * plan.curve_new_tokens
        seconds, least = (sum(step[f"seconds_{name}update"] for step in trained) for name in ("", "floor_"))
        costs.append(ContextCost(context, seconds / tokens, least / tokens, *_update(model, tokenizer, plan, context=context), decode / drawn, floor / drawn))
    return costs


def growth(costs: list[ContextCost], kind: str) -> float:
    """Return how much more a token costs at the longest context than at the shortest, over how much more its floor is.

    1: the cost grows as the operations do, which for a model whose attention is a small part is nearly linear in tokens.
    """
    first, last = costs[0], costs[-1]
    measured = getattr(last, f"{kind}_seconds") / getattr(first, f"{kind}_seconds")
    return measured / (getattr(last, f"{kind}_floor") / getattr(first, f"{kind}_floor"))


def _supervised_steps(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, length: int) -> list[dict[str, float]]:
    count = max(1, plan.curve_tokens // length)
    examples = [Example(tuple(ids), (False,) + (True,) * (length - 1)) for ids in random_ids([length] * count, vocabulary=len(tokenizer))]
    settings = SupervisedSettings(optimiser=OPTIMISER, steps=plan.steps + 1, precision=plan.speed_precision, micro_tokens=plan.micro_tokens)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        recorder = TimedRecorder(Path(folder))
        SupervisedRun(model, examples, [list(range(count))] * (plan.steps + 1), settings=settings, recorder=recorder).run()
    return [values | {"passed": float(count * (length - 1))} for _, values in recorder.steps[1:]]


def _supervised_rate(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, length: int, name: str) -> Rate:
    steps = _supervised_steps(model, tokenizer, plan, length=length)
    seconds = sum(step["seconds_update"] for step in steps)
    return Rate(name, sum(step["passed"] for step in steps) / seconds, sum(step["seconds_floor_update"] for step in steps) / seconds)


def _policy_rates(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> list[Rate]:
    prompts = random_ids([plan.prompt_tokens] * plan.prompts, vocabulary=len(tokenizer), seed=3)
    recorder = policy_steps(
        model, tokenizer, prompts, samples=plan.samples, max_new_tokens=plan.new_tokens, steps=plan.steps + 1, kl_weight=0.01,
        precision=plan.speed_precision, micro_tokens=plan.micro_tokens,  # type: ignore[arg-type]
    )  # fmt: skip
    steps = [values for _, values in recorder.steps[1:]]

    def total(*names: str) -> float:
        return sum(step[name] for step in steps for name in names)

    update = total("seconds_reference", "seconds_policy", "seconds_optimiser")
    return [
        Rate("GRPO update, reference and optimiser with it", total("packed_tokens") / update, total("seconds_floor_update") / update),
        Rate("sampling", total("sampled_tokens") / total("seconds_generate"), total("seconds_floor_generate") / total("seconds_generate")),
        _unrecorded_sampling(model, tokenizer, plan, prompts),
    ]


def _unrecorded_sampling(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, prompts: Sequence[Sequence[int]]) -> Rate:
    """Return the rate of sampling that replays no graphs."""
    sampler = NativeSampler(model, tokenizer, precision=plan.speed_precision, is_recorded=False)  # type: ignore[arg-type]
    options = SamplingOptions(max_new_tokens=plan.new_tokens, samples=plan.samples, seed=1)
    started = perf_counter()
    drawn = sampler.generate(prompts, options)
    seconds = perf_counter() - started
    trees = [Tree(len(prompt), tuple(len(answer.ids) for answer in group)) for prompt, group in zip(prompts, drawn, strict=True)]
    floor = StepFloors(model, precision=plan.speed_precision).generate(trees)  # type: ignore[arg-type]
    return Rate("sampling, kernels launched one by one", sum(sum(tree.answers) for tree in trees) / seconds, floor / seconds)


def _update(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, context: int) -> tuple[float, float]:
    """Return the seconds and the floor, a token, of GRPO updates without a reference: two answers a prompt, each from half of the context to its end.

    Supervised sequences are attended causally; answers to a shared prompt by a mask, whose kernels are others.
    """
    half = context // 2
    groups = [
        LiveGroup(tuple(prompt), tuple(Answer(tuple(ids), (-5.0,) * len(ids), "stop", "", {"score": 1.0}) for ids in answers), (1.0, -1.0))
        for number in range(max(1, plan.curve_tokens // (3 * half)))
        for prompt, *answers in [random_ids([half, context - half, context - half], vocabulary=len(tokenizer), seed=6 + number)]
    ]
    settings = PolicySettings(optimiser=OPTIMISER, steps=1, kl_weight=0.0, precision=plan.speed_precision, micro_tokens=plan.micro_tokens)  # type: ignore[arg-type]
    engine = create_engine(model, OPTIMISER, precision=plan.speed_precision)  # type: ignore[arg-type]
    steps = [update_policy(engine, None, groups, settings=settings, learning_rate=OPTIMISER.learning_rate) for _ in range(plan.steps + 1)][1:]
    tokens, trees = sum(group.packed_tokens for group in groups), [Tree(half, (context - half,) * 2) for _ in groups]
    floor = StepFloors(model, precision=plan.speed_precision).update(trees, headed=sum(group.answer_tokens for group in groups))  # type: ignore[arg-type]
    return sum(step.seconds_policy + step.seconds_optimiser for step in steps) / len(steps) / tokens, floor / tokens


def _decode(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, *, context: int) -> tuple[float, float]:
    """Return the seconds of drawing `curve_new_tokens` for each of `curve_rows` answers behind a prompt of `context`, prefill left out.

    Answers to one prompt, so that its cache is held once at every context; one token alone is drawn to time the prefill.
    """
    prompts = random_ids([context], vocabulary=len(tokenizer), seed=4)
    sampler = NativeSampler(model, tokenizer, precision=plan.speed_precision)  # type: ignore[arg-type]
    floors = StepFloors(model, precision=plan.speed_precision)  # type: ignore[arg-type]
    found = []
    for tokens in (1, plan.curve_new_tokens):
        options = SamplingOptions(max_new_tokens=tokens, samples=plan.curve_rows, seed=1)
        sampler.generate(prompts, options)
        started = perf_counter()
        drawn = sampler.generate(prompts, options)
        seconds = perf_counter() - started
        found.append((seconds, floors.generate([Tree(context, tuple(len(answer.ids) for answer in drawn[0]))])))
    (prefill, least_prefill), (whole, least) = found
    return max(whole - prefill, 1e-9), least - least_prefill


def reset_peak_memory() -> None:
    """Begin to count the device's peak of memory, where it has one."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_gigabytes() -> float | None:
    """Return the device's peak of memory in 10⁹ bytes; None on a processor."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
