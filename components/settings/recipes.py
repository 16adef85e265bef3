"""Recipes of `quarkmed train`: one YAML file that tunes one model folder on one JSON-lines file.

A recipe names a kind, a model, data and an output, and holds one section, named as the kind, of the same settings as
the stages of params.yaml. Paths are relative to the recipe's own folder.
"""

import difflib
import os
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from components.errors import SettingsError
from components.settings.base import Section
from components.settings.engine import EngineSettings
from components.settings.explaining import explain_problems, line_of
from components.settings.generation import VllmSettings
from components.settings.settings import read_yaml
from components.settings.training import DirectPreferenceSettings, PolicySettings, SupervisedSettings


class RewardSource(Section):
    """One reward function of one's own."""

    function: str = Field(pattern=r"^.+\.py:[A-Za-z_]\w*$", description="file.py:function; called as f(completions, **columns)")
    name: str = Field(default="", pattern=r"^[\w-]*$", description="its name in metrics and tables; empty: the function's")
    weight: float = Field(default=1.0, description="weight in the sum of the rewards")
    timeout_seconds: float = Field(default=0.0, ge=0, description="a call that takes longer counts as raised; 0: no limit (a clock then decides nothing, and equal runs stay equal)")

    @property
    def label(self) -> str:
        """The reward's name in metrics."""
        return self.name or self.function.rpartition(":")[2]

    @property
    def file(self) -> str:
        """The file that holds the function."""
        return self.function.rpartition(":")[0]


class Recipe(Section):
    """What every kind of recipe names."""

    paths: ClassVar[tuple[str, ...]] = ("model", "data", "output")

    kind: str
    model: str = Field(min_length=1, description="a Hugging Face folder, or a models/<name>.json of the pipeline")
    data: str = Field(min_length=1, description="the JSON-lines file")
    output: str = Field(min_length=1, description="folder of the result: model/, record/")
    seed: int = Field(default=20, ge=0, description="of sampling and order; equal recipes give equal weights")
    threads: int = Field(default=0, ge=0, description="processor threads; 0: one a core this process may use")
    engine: EngineSettings = Field(default_factory=EngineSettings, description="what trains: one process, or those that torchrun starts")

    @property
    def training(self) -> Section:
        """The section of training settings: the one named as the kind."""
        section: Section = getattr(self, self.kind)
        return section


class PolicyRecipe(Recipe):
    """GRPO on prompts with reward functions of one's own."""

    kind: Literal["policy"]
    reward: tuple[RewardSource, ...] = Field(min_length=1, description="`file.py:function`, one or a list; each may carry name and weight")
    pass_rate: str | None = Field(
        default=None, description="name of the reward, 0 to 1, whose mean over a prompt's answers says that the prompt is mastered; null: no prompt leaves"
    )
    policy: PolicySettings
    vllm: VllmSettings = Field(default_factory=VllmSettings, description="the engine, where policy.sampler is not native")

    @field_validator("reward", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple({"function": item} if isinstance(item, str) else item for item in items)

    @model_validator(mode="after")
    def _names_fit(self) -> "PolicyRecipe":
        names = [source.label for source in self.reward]
        if len(set(names)) < len(names):
            raise ValueError(f"reward: two rewards have one name ({', '.join(names)}); give them different `name`s")
        if self.pass_rate is not None and self.pass_rate not in names:
            raise ValueError(f"pass_rate: no reward is named {self.pass_rate!r}; rewards: {', '.join(names)}")
        if self.policy.validate_every:
            raise ValueError("policy.validate_every: a recipe has no validation queries to look at; remove this key")
        if self.policy.sampler != "native" and not self.engine.is_single:
            raise ValueError(f"policy.sampler: {self.policy.sampler} is handed its weights by one process; set it to native, or engine.strategy to single")
        if self.policy.reward_weights:
            raise ValueError("policy.reward_weights: in a recipe a weight stands beside its function, under reward; remove this key")
        return self


class SupervisedRecipe(Recipe):
    """Supervised tuning on conversations, with loss on the assistant's turns."""

    paths: ClassVar[tuple[str, ...]] = (*Recipe.paths, "validation")

    kind: Literal["supervised"]
    validation: str | None = Field(default=None, description="a JSON-lines file of conversations whose loss is looked at; null: none")
    ratios: dict[str, float] = Field(default_factory=dict, description="share of each `group` of conversations in every batch; empty: as the lines come")
    level_overlap: float | None = Field(default=None, ge=0, description="levels; where given, conversations go from `level` 1 to 3, overlapping by so much")
    supervised: SupervisedSettings


class RewardModelRecipe(Recipe):
    """A pointwise reward model tuned on preference pairs."""

    paths: ClassVar[tuple[str, ...]] = (*Recipe.paths, "validation")

    kind: Literal["reward_model"]
    validation: str | None = Field(default=None, description="a JSON-lines file of pairs that accuracy is measured on; null: none")
    centring: float = Field(default=0.01, ge=0, description="weight of the reward-centring term")
    margin_scale: float = Field(default=1.0, ge=0, description="reward units a unit of a pair's `margin` asks for; 0: no margin")
    reward_model: SupervisedSettings


class PreferenceRecipe(Recipe):
    """A policy tuned straight on preference pairs, without a reward model."""

    paths: ClassVar[tuple[str, ...]] = (*Recipe.paths, "validation")

    kind: Literal["preference"]
    validation: str | None = Field(default=None, description="a JSON-lines file of pairs that are looked at; null: those that are trained on")
    preference: DirectPreferenceSettings


RECIPES: dict[str, type[Recipe]] = {"policy": PolicyRecipe, "supervised": SupervisedRecipe, "reward_model": RewardModelRecipe, "preference": PreferenceRecipe}


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; its paths come back absolute.

    Raises:
        SettingsError: the file is missing or not YAML, the kind is unknown, a key is unknown (with the nearest right one) or a value out of range.
    """
    values = read_yaml(path)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in RECIPES:
        near = difflib.get_close_matches(str(kind), RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"kinds: {', '.join(RECIPES)}"
        raise SettingsError(f"{path}{line_of(path, ['kind'])}: kind: {'missing' if kind is None else f'{kind!r} is none'}; {hint}")
    try:
        recipe = RECIPES[kind].model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain_problems(error, path, RECIPES[kind])) from None
    folder = path.resolve().parent
    found = {name: getattr(recipe, name) for name in recipe.paths}
    absolute: dict[str, Any] = {name: _absolute(folder, value) for name, value in found.items() if value is not None}
    if isinstance(recipe, PolicyRecipe):
        absolute["reward"] = tuple(source.model_copy(update={"function": _absolute(folder, source.function)}) for source in recipe.reward)
    if "config" in recipe.engine.model_fields_set:
        absolute["engine"] = recipe.engine.model_copy(update={"config": _absolute(folder, recipe.engine.config)})
    return recipe.model_copy(update=absolute)


def _absolute(folder: Path, value: str) -> str:
    return os.path.normpath(folder / Path(value).expanduser())
