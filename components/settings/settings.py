"""All settings: params.yaml as one frozen, validated value; unknown keys are refused with the nearest right one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from components.errors import SettingsError
from components.settings.base import Section
from components.settings.data import CurateSettings, HoldoutSettings, IndexSettings, KnowledgeSettings, SourcesSettings
from components.settings.engine import EngineSettings
from components.settings.evaluation import EvaluateSettings, GateSettings
from components.settings.explaining import explain_problems
from components.settings.generation import VllmSettings
from components.settings.launching import LaunchSettings
from components.settings.object_store import ObjectStoreSettings
from components.settings.system import RunSettings, SystemSettings
from components.settings.training import (
    AnswersSettings,
    ColdStartSettings,
    IftSettings,
    InstructionsSettings,
    MixtureSettings,
    ModelSettings,
    PolicySettings,
    PromptsSettings,
    RewardModelSettings,
    SftSettings,
    SupervisedSettings,
)  # fmt: skip


class Settings(Section):
    """One field a section of params.yaml."""

    run: RunSettings
    system: SystemSettings
    object_store: ObjectStoreSettings = Field(default_factory=ObjectStoreSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    launch: LaunchSettings = Field(default_factory=LaunchSettings)
    sources: SourcesSettings
    curate: CurateSettings
    knowledge: KnowledgeSettings
    holdout: HoldoutSettings
    index: IndexSettings
    model: ModelSettings
    pretraining: SupervisedSettings
    instructions: InstructionsSettings
    mixture: MixtureSettings
    ift: IftSettings
    reward_models: RewardModelSettings
    answers: AnswersSettings
    sft: SftSettings
    cold_start: ColdStartSettings
    prompts: PromptsSettings
    grpo_reasoning: PolicySettings
    grpo_general: PolicySettings
    vllm: VllmSettings = Field(default_factory=VllmSettings)
    evaluate: EvaluateSettings
    gate: GateSettings


def load_settings(path: Path, *, profile: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read params.yaml, lay a profile and then overrides (dotted key → value) over it, and validate the whole.

    Raises:
        SettingsError: file missing, not YAML, an unknown key (with the nearest right one), or a value out of range.
    """
    values = read_yaml(path)
    if profile is not None:
        values = overlay(values, read_yaml(profile))
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = overlay(values, nested)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain_problems(error, path, Settings)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        SettingsError: the file is missing or is not a YAML mapping; names the line.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; run from the project's root or name the file") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a mapping of sections, found {type(values).__name__}")
    return values


def overlay(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `top` laid over it, mapping by mapping."""
    merged = dict(base)
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = value
    return merged
