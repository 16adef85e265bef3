"""The vocabulary of a rollout: prompts, answers, and the groups that keep a prompt's answers together.

A group carries its own id and its answers carry the sampled token ids: text is for judging only and is never tokenised
again, and no row is dropped before the group's statistics are taken (pitfalls 2 and 6 of docs on post-training).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from components.modeling.micro_batches import cut_by_tokens

TRUNCATED = "length"


@dataclass(frozen=True)
class PolicyPrompt:
    """One prompt: its token ids (chat template applied, generation prompt added) and what the rewards read."""

    id: str
    task: str
    ids: tuple[int, ...]
    case: Any = None


@dataclass(frozen=True)
class Answer:
    """One sampled answer; `ids` hold the stop token where the model wrote one, and never padding."""

    ids: tuple[int, ...]
    sampler_logprobs: tuple[float, ...]
    finish_reason: str
    text: str
    rewards: Mapping[str, float | None]

    @property
    def is_truncated(self) -> bool:
        """Say whether the answer was cut at the token limit; the finish reason decides, not the last token."""
        return self.finish_reason == TRUNCATED


@dataclass(frozen=True)
class Group:
    """All answers to one prompt of one step."""

    id: int
    prompt: PolicyPrompt
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class LiveGroup:
    """What of a group enters the loss: scored answers that are not masked, each with its advantage.

    `old_T` are the log-probabilities of its answers' tokens, end to end, under the policy that drew them; None: that is the
    current policy.
    """

    prompt_ids: tuple[int, ...]
    answers: tuple[Answer, ...]
    advantages: tuple[float, ...]
    old_T: Tensor | None = field(default=None, compare=False)

    @property
    def answer_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(len(answer.ids) for answer in self.answers)

    @property
    def packed_tokens(self) -> int:
        """Tokens of one forward pass: the prompt once, then every answer."""
        return len(self.prompt_ids) + self.answer_tokens


# (prompts, texts), both one an answer → for each answer its applicable rewards; None: applicable but not scored.
RewardFunction = Callable[[Sequence[PolicyPrompt], Sequence[str]], Sequence[Mapping[str, float | None]]]


def reward_tensors(groups: Sequence[Group]) -> dict[str, Tensor]:
    """Return reward name → (prompts, completions), float32; NaN where unscored or not applicable."""
    names = sorted({name for group in groups for answer in group.answers for name in answer.rewards})
    return {
        name: torch.tensor(
            [[_number(answer.rewards.get(name)) for answer in group.answers] for group in groups], dtype=torch.float32
        )
        for name in names
    }


def live_groups(groups: Sequence[Group], advantages_BG: Tensor, *, mask_truncated: bool) -> list[LiveGroup]:
    """Return the groups with spread, without unscored answers and, if asked, without truncated ones.

    An empty answer counts as an answer; a group of nothing but empty ones has no token to learn from and is left out.

    Args:
        advantages_BG: (prompts, completions); a row of zeros is a group without spread.
    """
    live = []
    for group, row in zip(groups, advantages_BG.tolist(), strict=True):
        if not any(row):
            continue
        kept = [
            (answer, advantage)
            for answer, advantage in zip(group.answers, row, strict=True)
            if is_scored(answer) and not (mask_truncated and answer.is_truncated)
        ]
        if any(answer.ids for answer, _ in kept):
            live.append(LiveGroup(group.prompt.ids, tuple(item[0] for item in kept), tuple(item[1] for item in kept)))
    return live


def is_scored(answer: Answer) -> bool:
    """Say whether every reward that applies to the answer gave a number."""
    return bool(answer.rewards) and all(value is not None for value in answer.rewards.values())


def micro_batches(groups: Sequence[LiveGroup], micro_tokens: int) -> list[list[LiveGroup]]:
    """Cut groups, in order, into batches of at most `micro_tokens` packed tokens (one group at least)."""
    return cut_by_tokens(groups, tokens=lambda group: group.packed_tokens, micro_tokens=micro_tokens)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
