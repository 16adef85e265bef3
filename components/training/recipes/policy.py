"""GRPO on a recipe's prompts with reward functions of one's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import DataError
from components.modeling.models import save_model
from components.modeling.tokenizers import encode_prompts
from components.recorder import Recorder, read_record
from components.settings.recipes import PolicyRecipe
from components.storage.checkpoints import CheckpointFolder
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.policy.samplers import policy_sampler
from components.training.recipes.inputs import PolicyInputs
from components.training.recipes.lines import PROMPTS, PromptLine
from components.training.recipes.model_folders import model_folder
from components.training.recipes.outcome import Outcome
from components.training.recipes.reward_functions import UserReward

NO_PASS_RATE = ""  # a name no reward has: no prompt is ever mastered


def run(
    model: Any, tokenizer: Any, recipe: PolicyRecipe, inputs: PolicyInputs, *, recorder: Recorder, checkpoints: CheckpointFolder
) -> Outcome:
    """Tune the model in place.

    Raises:
        DataError: a prompt leaves no room for its answer, a reward function broke its word, or no answer ever counted.
        Diverged, StorageError: see `optimise_policy`.
    """
    settings = recipe.policy.model_copy(update={"reward_weights": {source.label: source.weight for source in recipe.reward}})
    prompts = encode_lines(tokenizer, inputs.lines, room=model.config.max_position_embeddings - settings.max_new_tokens)
    drawing = policy_sampler(
        settings.sampler, model, tokenizer, folder=model_folder(Path(recipe.model)), precision=settings.precision, vllm=recipe.vllm, root=Path.cwd(),
        is_recorded=settings.recorded_steps,
    )  # fmt: skip
    with drawing as sampler:
        result = optimise_policy(
            model, prompts, Judge(inputs.lines, inputs.rewards, pass_rate=recipe.pass_rate), sampler=sampler, settings=settings,
            seed=recipe.seed, recorder=recorder, checkpoints=checkpoints, mastery=recipe.pass_rate or NO_PASS_RATE, engine=recipe.engine,
        )  # fmt: skip
    for reward in inputs.rewards:
        if reward.first_failure:
            recorder.warning(f"reward {reward.name}: raised on {reward.failures} answers, which were left out; the first time: {reward.first_failure}")
    summary = result.summary | what_counted(recorder.folder, settings.max_new_tokens)
    return Outcome(summary, lambda folder: save_model(model, tokenizer, folder))


def encode_lines(tokenizer: Any, lines: Sequence[PromptLine], *, room: int) -> list[PolicyPrompt]:
    """Return one prompt a line, through the model's chat template.

    Raises:
        DataError: a prompt is longer than `room` tokens; names its line.
    """
    encoded = encode_prompts(tokenizer, [line.messages for line in lines])
    for line, ids in zip(lines, encoded, strict=True):
        if len(ids) > room:
            raise DataError(f"{line.where}: the prompt has {len(ids)} tokens, and the model's context leaves {room} beside max_new_tokens; shorten it or lower max_new_tokens")
    return [PolicyPrompt(line.id, line.task, tuple(ids), line) for line, ids in zip(lines, encoded, strict=True)]


class Judge:
    """The loop's reward: lays out a step's answers as keyword lists and asks every function."""

    def __init__(self, lines: Sequence[PromptLine], rewards: Sequence[UserReward], *, pass_rate: str | None) -> None:
        self.rewards = rewards
        self.pass_rate = pass_rate
        self.columns = sorted({name for line in lines for name in line.columns})

    def __call__(self, prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[dict[str, float | None]]:
        """Return, for each answer, every reward's value.

        Raises:
            DataError: see `UserReward.score`; or a pass rate outside 0 to 1.
        """
        lines = [prompt.case for prompt in prompts]
        columns: dict[str, list[Any]] = {name: [line.columns.get(name) for line in lines] for name in self.columns}
        columns[PROMPTS] = [[message.model_dump() for message in line.messages] for line in lines]
        scores = {reward.name: reward.score(texts, columns) for reward in self.rewards}
        outside = [value for value in scores.get(self.pass_rate or "", []) if value is not None and not 0 <= value <= 1]
        if outside:
            raise DataError(f"pass_rate: reward {self.pass_rate} gave {outside[0]}, but a pass rate lies between 0 and 1; name another reward, or none")
        return [{name: values[index] for name, values in scores.items()} for index in range(len(texts))]


def what_counted(record: Path, max_new_tokens: int) -> dict[str, float]:
    """Return sums over the whole record: answers unscored, steps that taught nothing, tokens updated on.

    Raises:
        DataError: no answer ever entered the loss, so nothing was learnt.
    """
    steps = {entry["step"]: entry["values"] for entry in read_record(record) if entry["kind"] == "metrics" and "update_tokens" in entry["values"]}
    empty = [values for values in steps.values() if not values["update_tokens"]]
    if steps and len(empty) == len(steps):
        truncated, equal = (sum(values[name] for values in empty) / len(empty) for name in ("truncated_share", "no_spread_share"))
        raise DataError(
            f"nothing was learnt: in none of {len(steps)} steps an answer entered the loss; {truncated:.0%} of the answers were cut at "
            f"policy.max_new_tokens ({max_new_tokens}; policy.mask_truncated leaves those out), and {equal:.0%} of the prompts had answers of one equal reward"
        )
    return {
        "unscored_answers": sum(values["unscored_answers"] for values in steps.values()),
        "steps_without_signal": float(len(empty)),
        "update_tokens": sum(values["update_tokens"] for values in steps.values()),
        "packed_tokens": sum(values["packed_tokens"] for values in steps.values()),
    }
