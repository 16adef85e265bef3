"""vLLM's log-probabilities against ours, where vLLM can be imported: of the probes a sync checks, and of what it draws."""

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.gpu_check.agreement import PRECISIONS, random_ids
from bench.gpu_check.checks import Check, limited
from bench.gpu_check.plan import Plan
from components.errors import ServiceError
from components.generation.sampler import SamplingOptions
from components.generation.weight_probes import sequence_logprobs
from components.modeling.models import save_model
from components.modeling.precision import DTYPES
from components.settings.generation import VllmSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def is_vllm_here() -> bool:
    """Say whether this environment has vLLM."""
    return importlib.util.find_spec("vllm") is not None


def check_vllm(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, device: torch.device) -> list[Check]:
    """Start an engine in each number type, hand it the model's weights and compare; `model` lies on the processor.

    An engine that does not start, or refuses the weights, is a failed check.
    """
    from components.generation.colocated_engine import ColocatedEngine
    from components.generation.vllm_sampler import VllmSampler

    context = model.config.max_position_embeddings
    there, checks = model.to(device), []
    with tempfile.TemporaryDirectory() as temporary:
        save_model(there, tokenizer, Path(temporary))
        for precision in PRECISIONS:
            try:
                engine = ColocatedEngine(Path(temporary), context=context, dtype=precision, settings=VllmSettings())
                sampler = VllmSampler(engine, tokenizer, vocabulary=model.config.vocab_size, context=context, dtype=DTYPES[precision])
                try:
                    sampler.sync(there, version=1)
                    assert sampler.scores is not None
                    gaps = [sampler.scores.gap, _drawn_gap(sampler, there, tokenizer, plan)]
                finally:
                    sampler.close()
            except ServiceError as error:
                checks.append(limited(f"vLLM, {precision}: {error}", float("nan"), by=f"vllm {precision}"))
                continue
            names = ("probes", "what it drew")
            checks += [limited(f"vLLM's log-probabilities of {name}, {precision}", gap, by=f"vllm {precision}") for name, gap in zip(names, gaps, strict=True)]
    return checks


def _drawn_gap(sampler: object, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> float:
    prompts = random_ids([plan.prompt_tokens] * plan.prompts, vocabulary=len(tokenizer), seed=5)
    groups = sampler.generate(prompts, SamplingOptions(max_new_tokens=min(64, plan.new_tokens), samples=plan.samples, seed=1))  # type: ignore[attr-defined]
    gaps = []
    for prompt, group in zip(prompts, groups, strict=True):
        rows = sequence_logprobs(model, [[*prompt, *answer.ids] for answer in group])
        gaps += [abs(a - b) for answer, row in zip(group, rows, strict=True) for a, b in zip(answer.logprobs, row[len(prompt) - 1 :], strict=True)]
    return max(gaps)
