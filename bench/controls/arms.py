"""What the controls do differently: other ratios, other candidates, supervised tuning in place of reinforcement.

Candidates: queries whose candidates all break a rule keep the gold answer in every arm, so that the arms differ by the
choice alone; where there is a choice, the first or random candidate is taken whatever rules it breaks. Both splits are
chosen alike, so each arm stops at its own validation optimum.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components import layout
from components.answers.answers_stage import answer_splits, to_sample
from components.answers.best_of_n import Query
from components.cases.case import Case
from components.conversations import Sample
from components.documents import read_models, write_jsonl
from components.errors import DataError
from components.knowledge_base.loading import load_knowledge_base
from components.lineage import stable_fraction
from components.mixture.simplex import random_ratios, uniform_ratios
from components.modeling.tokenizers import encode_prompts, encode_samples, load_tokenizer
from components.recorder import read_record
from components.rewards.oracle import Oracle
from components.stage import StageContext
from components.storage.files import read_json, write_json
from components.training.cold_start_stage import SEED_OFFSET, reasoning_samples
from components.training.tuned_model import tune_and_publish

CODE = "bench/controls/arms.py"  # an input of every row that runs a function of this file
OTHER_ANSWERS = "artifacts/other_answers"  # <way>/samples.jsonl, <way>/validation.jsonl, report.json
WAYS = ("first", "random")
GRPO_TOKENS = "artifacts/grpo_tokens.json"
COMPUTE = "artifacts/compute.json"
SUPERVISED = "models/supervised.json"
BACKWARD = 2  # forward passes that one backward pass costs
PATIENCE = 3  # looks of the validated control without a better validation loss; one look an epoch


def other_ratios(way: str, groups: Sequence[str], *, floor: float, seed: int) -> dict[str, float]:
    """Return `uniform` ratios, or `random` ones: one point of the floored simplex, fixed by the seed."""
    if way == "uniform":
        return uniform_ratios(groups)
    (point,) = random_ratios(groups, floor=floor, count=1, generator=np.random.default_rng([seed, 11]))
    return dict(zip(groups, point.tolist(), strict=True))


def answer_otherwise(context: StageContext) -> None:
    """Answer the queries as `answers` did; write its samples with each other choice in the best one's place, and how many differ."""
    train, validation = answer_splits(context, Oracle(load_knowledge_base(context.read(layout.KNOWLEDGE_BASE))))
    report = {"queries": len(train.queries), "without_choice": sum(query.chosen is None for query in train.queries)}
    for way in WAYS:
        for queries, path, name in ((train.queries, layout.ANSWERS, "samples"), (validation.queries, layout.ANSWERS_VALIDATION, "validation")):
            others = {sample.id: sample for sample in (to_sample(choose_otherwise(query, way, seed=context.seed)) for query in queries)}
            best = read_models(context.read(path), Sample)
            write_jsonl(context.write(f"{OTHER_ANSWERS}/{way}/{name}.jsonl"), [others.get(sample.id, sample) for sample in best])
            report[f"{name}_{way}_differs"] = sum(others.get(sample.id, sample) != sample for sample in best)
    write_json(context.write(f"{OTHER_ANSWERS}/report.json"), report)


def choose_otherwise(query: Query, way: str, *, seed: int) -> Query:
    """Return the query with its first or a random candidate chosen; unchanged where there was nothing to choose."""
    if query.chosen is None:
        return query
    place = int(stable_fraction("random candidate", str(seed), query.case.id) * len(query.candidates)) if way == "random" else 0
    return dataclasses.replace(query, chosen=place)


def grpo_tokens(record: Path, *, has_reference: bool) -> dict[str, Any]:
    """Return what a finished GRPO stage put through the model, summed over the steps of its record.

    Raises:
        DataError: the record holds no step.
    """
    steps = [entry["values"] for entry in read_record(record) if entry["kind"] == "metrics" and "packed_tokens" in entry["values"]]
    if not steps:
        raise DataError(f"{record}: its record holds no step of GRPO; delete the folder and run the bench again")
    totals = {name: sum(values.get(name, 0.0) for values in steps) for name in ("sampled_groups", "sampled_tokens", "packed_tokens")}
    return {**totals, "has_reference": has_reference}


def grpo_passes(tokens: dict[str, Any], *, prompt_tokens: float) -> float:
    """Return GRPO's forward passes of a token: prompts · prompt_tokens + sampled + packed · (reference + 1 + backward)."""
    scored = tokens["packed_tokens"] * (tokens["has_reference"] + 1 + BACKWARD)
    return float(tokens["sampled_groups"] * prompt_tokens + tokens["sampled_tokens"] + scored)


def tune_on_reasoning(context: StageContext, *, is_validated: bool) -> None:
    """Tune cold_start on the reasoning prompts' full-mark answers for as many forward passes of a token as GRPO took.

    Args:
        is_validated: look at the validation cases once an epoch, stop at their optimum and keep its weights.
    """
    settings = context.section("cold_start")
    cases = read_models(context.read(layout.REASONING_PROMPTS), Case)
    samples = reasoning_samples(cases, count=len(cases), seed=context.seed)
    validation: list[Sample] = []
    if is_validated:
        held_out = read_models(context.read(layout.VALIDATION_CASES), Case)
        validation = reasoning_samples(held_out, count=len(held_out), seed=context.seed)
    tokenizer = load_tokenizer(context.fetch_model(layout.COLD_START))
    prompt_tokens = np.mean([len(ids) for ids in encode_prompts(tokenizer, [case.messages for case in cases])])
    sample_tokens = np.mean([len(ids) for ids, _ in encode_samples(tokenizer, [sample.messages for sample in samples])])
    passes = grpo_passes(read_json(context.read(GRPO_TOKENS)), prompt_tokens=float(prompt_tokens))
    step_passes = float(settings.batch_samples * sample_tokens * (1 + BACKWARD))
    steps = max(1, round(passes / step_passes))
    epoch = max(1, round(len(samples) / settings.batch_samples))
    tuning = settings.model_copy(update={"steps": steps, **({"validate_every": epoch, "patience": PATIENCE} if is_validated else {})})
    matched = dataclasses.replace(context, all_settings=context.all_settings.model_copy(update={"cold_start": tuning}))
    tune_and_publish(matched, samples, parent=layout.COLD_START, output=SUPERVISED, seed_offset=SEED_OFFSET, validation=validation)
    done = next(entry["values"] for entry in reversed(read_record(context.recorder.folder)) if entry["kind"] == "summary")
    write_json(context.write(COMPUTE), {
        "grpo_token_passes": passes, "supervised_token_passes": done["tokens"] * (1 + BACKWARD), "planned_steps": steps, "steps": done["steps"],
        "epochs": done["steps"] / epoch, "samples": len(samples),
    })  # fmt: skip


def ratios_text(ratios: dict[str, float]) -> str:
    """Return the content of a ratios file."""
    return json.dumps({"ratios": ratios}, sort_keys=True)
