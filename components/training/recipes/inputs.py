"""What each kind of recipe reads before any model is loaded, so that bad input is refused at once. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.settings.recipes import PolicyRecipe, PreferenceRecipe, Recipe, RewardModelRecipe, SupervisedRecipe
from components.training.recipes.lines import PROMPTS, PromptLine, read_conversations, read_pairs, read_prompts
from components.training.recipes.reward_functions import UserReward, load_reward


@dataclass(frozen=True)
class PolicyInputs:
    """Prompts and the functions that judge their answers."""

    lines: list[PromptLine]
    rewards: list[UserReward]

    @property
    def count(self) -> int:
        """Lines read."""
        return len(self.lines)


@dataclass(frozen=True)
class TuningInputs:
    """Conversations or pairs, and those that only measure."""

    training: list[Any]
    validation: list[Any]

    @property
    def count(self) -> int:
        """Lines that are trained on."""
        return len(self.training)


def read_inputs(recipe: Recipe) -> PolicyInputs | TuningInputs:
    """Read everything a recipe names besides its model.

    Raises:
        DataError, SettingsError: a file is missing or malformed, or a reward function cannot be used.
    """
    if isinstance(recipe, PolicyRecipe):
        lines = read_prompts(Path(recipe.data))
        columns = frozenset({name for line in lines for name in line.columns} | {PROMPTS})
        return PolicyInputs(lines, [load_reward(source, columns=columns) for source in recipe.reward])
    assert isinstance(recipe, SupervisedRecipe | RewardModelRecipe | PreferenceRecipe)
    read: Callable[[Path], list[Any]] = read_conversations if isinstance(recipe, SupervisedRecipe) else read_pairs
    return TuningInputs(read(Path(recipe.data)), read(Path(recipe.validation)) if recipe.validation else [])
