"""The pairs of one prompt, kept together: its distinct answers encoded once, and a plan of batches of whole prompts.

Pairs of a prompt are correlated; shuffled apart, a model overfits them in one epoch (arXiv:2203.02155 §3.5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.conversations import Message, PreferencePair
from components.lineage import digest_value, stable_fraction
from components.rewards.reward_model import Encoded
from components.sizing.floors import Tree

# (conversations, answers), both one an answer → (prompt ids, answer ids) of each
EncodeAnswers = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[Encoded]]


@dataclass(frozen=True)
class PromptPairs:
    """The pairs of one prompt: its distinct encoded answers, and for each pair the two positions and the margin."""

    answers: tuple[Encoded, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    margins: tuple[float, ...]
    ids: tuple[str, ...]  # of the pairs

    @property
    def tokens(self) -> int:
        """Tokens of one pass, the prompt counted once."""
        return self.tree.tokens

    @property
    def tree(self) -> Tree:
        """Tokens of the prompt and of each answer, as one pass holds them."""
        return Tree(len(self.answers[0][0]), tuple(len(answer) for _, answer in self.answers))


def group_pairs(pairs: Sequence[PreferencePair], encode: EncodeAnswers) -> list[PromptPairs]:
    """Encode pairs and gather those with the same prompt, in the order prompts first appear."""
    by_prompt: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        by_prompt.setdefault("\x1f".join(f"{message.role}\x1e{message.content}" for message in pair.messages), []).append(pair)
    texts = [list(dict.fromkeys(text for pair in group for text in (pair.chosen, pair.rejected))) for group in by_prompt.values()]
    conversations = [group[0].messages for group, answers in zip(by_prompt.values(), texts, strict=True) for _ in answers]
    encoded = iter(encode(conversations, [text for answers in texts for text in answers]))
    grouped = []
    for group, answers in zip(by_prompt.values(), texts, strict=True):
        grouped.append(
            PromptPairs(
                answers=tuple(next(encoded) for _ in answers),
                chosen=tuple(answers.index(pair.chosen) for pair in group),
                rejected=tuple(answers.index(pair.rejected) for pair in group),
                margins=tuple(pair.margin for pair in group),
                ids=tuple(pair.id for pair in group),
            )
        )
    return grouped


def fitting_pairs(groups: Sequence[PromptPairs], *, context: int) -> list[PromptPairs]:
    """Leave out pairs with an answer that goes beyond `context` tokens, prompt and all, and prompts that then have no pair."""
    kept = []
    for group in groups:
        fits = [len(prompt) + len(answer) <= context for prompt, answer in group.answers]
        pairs = zip(group.chosen, group.rejected, group.margins, group.ids, strict=True)
        fitting = [pair for pair in pairs if fits[pair[0]] and fits[pair[1]]]
        if fitting:
            places = sorted({position for pair in fitting for position in pair[:2]})
            kept.append(
                PromptPairs(
                    answers=tuple(group.answers[position] for position in places),
                    chosen=tuple(places.index(pair[0]) for pair in fitting),
                    rejected=tuple(places.index(pair[1]) for pair in fitting),
                    margins=tuple(pair[2] for pair in fitting),
                    ids=tuple(pair[3] for pair in fitting),
                )
            )
    return kept


def plan_batches(groups: Sequence[PromptPairs], *, steps: int, batch_pairs: int, seed: int) -> list[list[int]]:
    """Return one batch of indices a step: whole prompts, shuffled anew each epoch, until `batch_pairs` pairs are reached."""
    plan: list[list[int]] = []
    epoch, order = 0, []
    while len(plan) < steps:
        batch: list[int] = []
        while sum(len(groups[index].chosen) for index in batch) < batch_pairs:
            if not order:
                order = sorted(range(len(groups)), key=lambda index: stable_fraction(str(seed), str(epoch), str(index)))
                epoch += 1
            batch.append(order.pop(0))
        plan.append(batch)
    return plan


def pair_positions(groups: Sequence[PromptPairs]) -> tuple[Tensor, Tensor]:
    """Return where each pair's preferred and other answer stand among the groups' answers laid end to end, (pairs,), int64."""
    chosen, rejected, start = [], [], 0
    for group in groups:
        chosen += [start + position for position in group.chosen]
        rejected += [start + position for position in group.rejected]
        start += len(group.answers)
    return torch.tensor(chosen), torch.tensor(rejected)


def groups_digest(groups: Sequence[PromptPairs]) -> str:
    """Return the digest of what is tuned on: every prompt, answer and pair, in order."""
    return digest_value([[group.answers, group.chosen, group.rejected, group.margins] for group in groups])
