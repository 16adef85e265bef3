"""What a user would write instead, on the same GPU in the same run: transformers' own model in torch's autocast, and `generate`.

Without deterministic kernels, as its user would run it; a step of gradients over the same tokens in passes of the same size.
"""

import contextlib
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from bench.gpu_check.agreement import random_ids
from bench.gpu_check.plan import Plan
from components.modeling.precision import DTYPES

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def training_rate(model: "PreTrainedModel", plan: Plan, *, vocabulary: int) -> float:
    """Return tokens a second of optimiser steps on sequences of `prompt_tokens`, all equally long, so that none is padded."""
    rows = torch.tensor(random_ids([plan.prompt_tokens] * max(1, plan.curve_tokens // plan.prompt_tokens), vocabulary=vocabulary), device=model.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    passes = rows.split(max(1, plan.micro_tokens // plan.prompt_tokens))

    def step() -> None:
        for part in passes:
            with torch.autocast(model.device.type, DTYPES[plan.speed_precision], enabled=plan.speed_precision != "float32"):
                loss = model(part, labels=part, use_cache=False).loss
            (loss * len(part) / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    with _as_a_user(model):
        seconds = _timed(step, model.device, repeats=plan.steps)
    return rows.numel() / seconds


def sampling_rate(model: "PreTrainedModel", plan: Plan, *, vocabulary: int) -> float:
    """Return tokens a second of `generate` over the prompts of the policy's steps, as many tokens an answer; the model's weights end rounded."""
    prompts = torch.tensor(random_ids([plan.prompt_tokens] * plan.prompts, vocabulary=vocabulary, seed=3), device=model.device).repeat_interleave(plan.samples, 0)
    dtype = next(model.parameters()).dtype
    options = {"do_sample": True, "max_new_tokens": plan.new_tokens, "min_new_tokens": plan.new_tokens, "top_k": 0, "pad_token_id": 0}
    with _as_a_user(model), torch.no_grad():
        model.to(DTYPES[plan.speed_precision])
        try:
            seconds = _timed(lambda: model.generate(prompts, attention_mask=torch.ones_like(prompts), **options), model.device, repeats=1)
        finally:
            model.to(dtype)
    return len(prompts) * plan.new_tokens / seconds


@contextlib.contextmanager
def _as_a_user(model: "PreTrainedModel") -> Iterator[None]:
    """Take any kernel torch likes, for attention its fused ones, within the block."""
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(0)
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _timed(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """Return seconds of one run, after one that is not counted."""

    def settle() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return perf_counter()

    work()
    started = settle()
    for _ in range(repeats):
        work()
    return (settle() - started) / repeats
