"""Preference pairs of answers that carry a reward: each prompt's best against its worst, as the report forms them for DPO."""

from collections.abc import Sequence
from typing import Literal

from components.conversations import Message, PreferencePair
from components.errors import DataError
from components.lineage import digest_value


def best_and_worst_pairs(
    conversations: Sequence[Sequence[Message]],
    answers: Sequence[Sequence[str]],
    rewards: Sequence[Sequence[float | None]],
    *,
    dimension: Literal["honesty", "helpfulness"],
    minimum_margin: float = 1e-6,
) -> list[PreferencePair]:
    """Return at most one pair a prompt, in the prompts' order; `margin` is the difference of rewards.

    Args:
        answers: (prompts, answers), any number a prompt; `rewards` of each, None where unscored: the answer is left out.
        minimum_margin: difference below which a prompt's best and worst are tied, and give no pair; in units of reward.
    Raises:
        DataError: numbers of prompts, answers and rewards differ.
    """
    if not len(conversations) == len(answers) == len(rewards):
        raise DataError(f"{len(conversations)} prompts, {len(answers)} groups of answers, {len(rewards)} of rewards; give one of each a prompt")
    pairs = []
    for number, (messages, texts, values) in enumerate(zip(conversations, answers, rewards, strict=True)):
        if len(texts) != len(values):
            raise DataError(f"prompt {number}: {len(values)} rewards for {len(texts)} answers; give one an answer, None where unscored")
        scored = [(value, text) for value, text in zip(values, texts, strict=True) if value is not None]
        if not scored:
            continue
        best, worst = max(scored, key=lambda item: item[0]), min(scored, key=lambda item: item[0])
        if best[0] - worst[0] < minimum_margin or best[1] == worst[1]:
            continue
        identifier = digest_value([[message.role, message.content] for message in messages] + [best[1], worst[1]])[:16]
        pairs.append(
            PreferencePair(
                id=f"{number}-{identifier}", dimension=dimension, messages=tuple(messages), chosen=best[1], rejected=worst[1], margin=best[0] - worst[0]
            )
        )
    return pairs
