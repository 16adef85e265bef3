"""Every key a recipe may have, as a table: value or default, unit, meaning and source. Made from the settings classes.

`NOTES` adds what a class cannot say: the unit of a number and where its meaning or default comes from. A test holds that
every number has a unit and every note a key.
"""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.settings.engine import EngineSettings
from components.settings.explaining import section_class
from components.settings.generation import VllmSettings
from components.settings.recipes import RECIPES, Recipe, RewardSource
from components.settings.training import (
    AdapterSettings,
    DirectPreferenceSettings,
    OptimiserSettings,
    PolicySettings,
    SupervisedSettings,
)

COMMON = "every recipe"
# In a recipe a weight stands beside its function, and there are no validation queries; the bound is of the pipeline's reward models.
LEFT_OUT = {(PolicySettings, name) for name in ("reward_weights", "validate_every", "patience", "measured_cases", "reward_bound")}

# (class that declares the key, key) → (unit, source); "" where there is none.
NOTES: dict[tuple[type[BaseModel], str], tuple[str, str]] = {
    (Recipe, "seed"): ("–", ""),
    (Recipe, "threads"): ("threads", ""),
    (RewardSource, "weight"): ("–", "arXiv:2601.05242"),
    (RewardSource, "timeout_seconds"): ("seconds", ""),
    (OptimiserSettings, "kind"): ("", "AdamW arXiv:1711.05101; Muon arXiv:2502.16982"),
    (OptimiserSettings, "outer_rate_share"): ("ratio", ""),
    (OptimiserSettings, "learning_rate"): ("a step", "arXiv:1711.05101"),
    (OptimiserSettings, "warmup_steps"): ("steps", ""),
    (OptimiserSettings, "schedule"): ("", "arXiv:1608.03983, without restarts"),
    (OptimiserSettings, "final_share"): ("ratio", ""),
    (OptimiserSettings, "weight_decay"): ("a step, times the rate", "arXiv:1711.05101"),
    (OptimiserSettings, "betas"): ("–", "arXiv:1412.6980"),
    (OptimiserSettings, "clip_norm"): ("gradient norm", "arXiv:1211.5063"),
    (PolicySettings, "steps"): ("steps", ""),
    (PolicySettings, "prompts_per_step"): ("prompts", ""),
    (PolicySettings, "completions"): ("answers", "arXiv:2402.03300 §4.1"),
    (PolicySettings, "max_new_tokens"): ("tokens", ""),
    (PolicySettings, "temperature"): ("–", ""),
    (PolicySettings, "updates_per_rollout"): ("steps", "arXiv:2503.14476 §4.1"),
    (PolicySettings, "loss"): (
        "", "grpo arXiv:2402.03300; dapo arXiv:2503.14476; dr_grpo arXiv:2503.20783; gspo arXiv:2507.18071; cispo arXiv:2506.13585"
    ),
    (PolicySettings, "clip_low"): ("ratio − 1", "arXiv:2503.14476 §3.1"),
    (PolicySettings, "clip_high"): ("ratio − 1", "arXiv:2503.14476 §3.1"),
    (PolicySettings, "kl_weight"): ("reward a nat", "arXiv:2402.03300"),
    (PolicySettings, "entropy_weight"): ("reward a nat", ""),
    (PolicySettings, "importance_cap"): ("ratio", ""),
    (PolicySettings, "sequence_gap_limit"): ("nats a token", ""),
    (PolicySettings, "overlong_buffer"): ("tokens", "arXiv:2503.14476 eq. 13"),
    (PolicySettings, "verifier_rollouts"): ("judgements", ""),
    (PolicySettings, "kl"): ("", "k3 arXiv:2402.03300 eq. 4; ratio_k3 arXiv:2512.02556"),
    (PolicySettings, "scale_advantages"): ("", "group: arXiv:2402.03300; none: arXiv:2503.20783"),
    (PolicySettings, "combine_rewards"): ("", "per_reward: arXiv:2601.05242"),
    (PolicySettings, "mask_truncated"): ("", "arXiv:2503.14476 §3.4"),
    (PolicySettings, "refill_rounds"): ("rounds", "arXiv:2503.14476 §3.2"),
    (PolicySettings, "table_every"): ("steps", ""),
    (PolicySettings, "epochs"): ("passes", ""),
    (PolicySettings, "mastered_pass_rate"): ("share", ""),
    (PolicySettings, "readmission"): ("probability", ""),
    (PolicySettings, "checkpoint_every"): ("steps", ""),
    (PolicySettings, "micro_tokens"): ("tokens", ""),
    (PolicySettings, "kl_limit"): ("nats a token", ""),
    (EngineSettings, "strategy"): ("", "fsdp arXiv:2304.11277, its second form; deepspeed arXiv:1910.02054"),
    (AdapterSettings, "rank"): ("–", "arXiv:2106.09685"),
    (AdapterSettings, "alpha"): ("–", "arXiv:2106.09685"),
    (VllmSettings, "port"): ("–", ""),
    (VllmSettings, "workers"): ("processes", ""),
    (VllmSettings, "transfer_seconds"): ("seconds", ""),
    (VllmSettings, "sequences"): ("answers", ""),
    (VllmSettings, "cache_gib"): ("GiB", ""),
    (VllmSettings, "start_seconds"): ("seconds", ""),
    (VllmSettings, "call_seconds"): ("seconds", ""),
    (VllmSettings, "tolerance"): ("nats", ""),
    (DirectPreferenceSettings, "steps"): ("steps", ""),
    (DirectPreferenceSettings, "batch_pairs"): ("pairs", ""),
    (DirectPreferenceSettings, "loss"): ("", "dpo arXiv:2305.18290; ipo arXiv:2310.12036; cdpo Mitchell 2023"),
    (DirectPreferenceSettings, "beta"): ("reward a nat", "arXiv:2305.18290"),
    (DirectPreferenceSettings, "label_smoothing"): ("probability", ""),
    (DirectPreferenceSettings, "supervised_weight"): ("ratio", "arXiv:2404.19733"),
    (DirectPreferenceSettings, "validate_every"): ("steps", ""),
    (DirectPreferenceSettings, "checkpoint_every"): ("steps", ""),
    (DirectPreferenceSettings, "micro_tokens"): ("tokens", ""),
    (DirectPreferenceSettings, "fall_limit"): ("nats a token", ""),
    (SupervisedSettings, "steps"): ("steps", ""),
    (SupervisedSettings, "batch_samples"): ("conversations; pairs", ""),
    (SupervisedSettings, "batch_tokens"): ("tokens", ""),
    (SupervisedSettings, "micro_tokens"): ("tokens", ""),
    (SupervisedSettings, "validate_every"): ("steps", ""),
    (SupervisedSettings, "patience"): ("looks", ""),
    (SupervisedSettings, "checkpoint_every"): ("steps", ""),
    (SupervisedSettings, "spike_limit"): ("nats a token", ""),
    (RECIPES["supervised"], "ratios"): ("share", ""),
    (RECIPES["supervised"], "level_overlap"): ("levels", "curriculum: doi:10.1145/1553374.1553380"),
    (RECIPES["reward_model"], "centring"): ("–", "arXiv:2312.09244"),
    (RECIPES["reward_model"], "margin_scale"): ("rewards", "arXiv:2307.09288 §3.2.2"),
}


@dataclass(frozen=True)
class Option:
    """One key: `default` is "required" where it has none; `unit` is "" where the value is no number and "?" where none is noted."""

    key: str
    values: str
    default: str
    unit: str
    meaning: str
    source: str


def recipe_options() -> dict[str, list[Option]]:
    """Return heading → options: first what every recipe has, then what each kind adds."""
    common = set(Recipe.model_fields)
    tables = {COMMON: [option for option in _options(Recipe) if option.key != "kind"]}
    tables |= {kind: [option for option in _options(model) if option.key.partition(".")[0] not in common] for kind, model in RECIPES.items()}
    return tables


def options_table() -> str:
    """Return all options as Markdown, one table a heading."""
    parts = []
    for heading, options in recipe_options().items():
        title = f"**{heading}**" if heading == COMMON else f"**kind: {heading}**"
        rows = [
            f"| {option.key} | {option.values} | {option.default} | {option.unit} | {option.meaning} | {option.source} |" for option in options
        ]
        parts.append("\n".join([title, "", "| key | value | default | unit | meaning | source |", "|---|---|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _options(model: type[BaseModel], prefix: str = "") -> Iterator[Option]:
    for name, field in model.model_fields.items():
        if (model, name) in LEFT_OUT:
            continue
        inner = section_class(field.annotation)
        if inner is not None:
            if field.description:
                yield Option(f"{prefix}{name}", "section", _default(field), "", field.description, "")
            yield from _options(inner, f"{prefix}{name}.")
            continue
        unit, source = _note(model, name)
        if not unit and _is_number(field.annotation):
            unit = "?"
        yield Option(f"{prefix}{name}", _values(field.annotation), _default(field), unit, (field.description or "").replace("|", "or"), source)


def _note(model: type[BaseModel], name: str) -> tuple[str, str]:
    return next((NOTES[cls, name] for cls in model.__mro__ if issubclass(cls, BaseModel) and (cls, name) in NOTES), ("", ""))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(str(item) for item in value)}]"
    return {None: "null", "": '""'}.get(value, str(value)) if not isinstance(value, dict) else "{}"


def _values(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(str(item) for item in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if item is type(None) else _values(item) for item in arguments)
    if origin is tuple:
        return "list" if Ellipsis in arguments else f"[{', '.join(_values(item) for item in arguments)}]"
    if origin is dict:
        return f"name: {_values(arguments[1])}"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(annotation, str(annotation))


def _is_number(annotation: Any) -> bool:
    if annotation in (int, float):
        return True
    return any(_is_number(item) for item in typing.get_args(annotation) if item is not bool)
