"""A pointwise reward model tuned on a recipe's preference pairs."""

from time import perf_counter
from typing import Any

import torch

from components.recorder import Recorder
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.recipes import RewardModelRecipe
from components.storage.checkpoints import CheckpointFolder
from components.training.preference.bradley_terry import pair_accuracy
from components.training.preference.tuning import score_pairs, tune_reward_model
from components.training.recipes.inputs import TuningInputs
from components.training.recipes.outcome import Outcome

NAME = "reward"  # before the metrics


def run(
    model: Any, tokenizer: Any, recipe: RewardModelRecipe, inputs: TuningInputs, *, recorder: Recorder, checkpoints: CheckpointFolder
) -> Outcome:
    """Put a scalar head on the model and tune it; `reward_mean` and `reward_scale` are of the raw rewards of all answers it was tuned on.

    Raises:
        DataError, Diverged, StorageError: see `tune_reward_model`.
    """
    settings, started = recipe.reward_model, perf_counter()
    scorer = create_reward_model(model, seed=recipe.seed)
    tune_reward_model(
        scorer, tokenizer, inputs.training, settings=settings, centring=recipe.centring, margin_scale=recipe.margin_scale,
        seed=recipe.seed, recorder=recorder, name=NAME, checkpoints=checkpoints, engine=recipe.engine,
    )  # fmt: skip
    seconds = perf_counter() - started
    scores = score_pairs(scorer, tokenizer, inputs.training, precision=settings.precision)
    rewards = torch.cat(scores)
    mean, scale = float(rewards.mean()), max(float(rewards.std()), 1e-6)
    summary = {
        "steps": float(settings.steps), "pairs": float(len(inputs.training)), "accuracy": float(pair_accuracy(*scores).mean()),
        "reward_mean": mean, "reward_scale": scale, "seconds_update": seconds,
    }  # fmt: skip
    if inputs.validation:
        summary["validation_accuracy"] = float(pair_accuracy(*score_pairs(scorer, tokenizer, inputs.validation, precision=settings.precision)).mean())
    return Outcome(summary, lambda folder: save_reward_model(scorer, tokenizer, folder, mean=mean, scale=scale))
