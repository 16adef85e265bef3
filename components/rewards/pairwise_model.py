"""A pairwise reward model: a scalar head that reads two answers to a question side by side and says which is better.

Its logit f(a, b) is above 0 where the answer that stands first is the better (arXiv:2306.02561 §3). Such readers favour a
place (arXiv:2305.17926), so both orders are asked:

    s(a, b) = (f(a, b) − f(b, a)) / 2,  P(a better) = σ(s)      what a place is favoured by cancels
    bias    = (f(a, b) + f(b, a)) / 2                           and is measured, in logits: above 0, the first place is

Only final answers are read. Stored like a pointwise model (`reward_model.py`), with `reward_kind` in config.json so that
neither is taken for the other. Comparing n answers takes n(n − 1) readings, which share the question's pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from components.conversations import Message, PreferencePair
from components.errors import StorageError
from components.modeling.precision import Precision
from components.rewards.answer_parsing import split_reasoning
from components.rewards.reward_model import (
    PAIRWISE,
    answer_rewards,
    cut_batches,
    encode_answers,
    load_scored,
    save_reward_model,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FIRST, SECOND = "First answer: ", "Second answer: "


@dataclass(frozen=True)
class Comparison:
    """What a model says of two answers: `logit` s above 0 where the first is better; `bias` towards the first place."""

    logit: float
    bias: float

    @property
    def probability(self) -> float:
        """That the first answer is the better, 0..1."""
        return 1 / (1 + math.exp(-max(-700.0, self.logit)))

    def winner(self, *, tie_width: float = 0.0) -> Literal["first", "second", "tie"]:
        """Return the better answer; a tie where |s| is at most `tie_width` logits."""
        if abs(self.logit) <= tie_width:
            return "tie"
        return "first" if self.logit > 0 else "second"


class PairwiseModel:
    """Compares answers; one that is empty once its reasoning is taken off cannot be compared (None)."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", *, precision: Precision = "float32") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.precision = precision

    @classmethod
    def load(cls, folder: Path, *, precision: Precision = "float32") -> "PairwiseModel":
        """Load a folder written by `save_pairwise_model`.

        Raises:
            StorageError: no pairwise model there, or its weights cannot be read.
        """
        model, tokenizer = load_scored(folder, kind=PAIRWISE)
        return cls(model, tokenizer, precision=precision)

    @torch.no_grad()
    def compare(
        self, conversations: Sequence[Sequence[Message]], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[Comparison | None]:
        """Compare the two answers to each conversation, in both orders; neighbours with one conversation share its pass."""
        asked, texts, readable = [], [], []
        for messages, first, second in zip(conversations, firsts, seconds, strict=True):
            readable.append(bool(split_reasoning(first)[1] and split_reasoning(second)[1]))
            if readable[-1]:
                asked += [messages, messages]
                texts += [side_by_side(first, second), side_by_side(second, first)]
        encoded = encode_answers(self.tokenizer, asked, texts)
        logits = [value for batch in cut_batches(encoded) for value in answer_rewards(self.model, batch, precision=self.precision).tolist()]
        both = iter(zip(logits[0::2], logits[1::2], strict=True))
        return [_comparison(*next(both), is_same=first == second) if flag else None for flag, first, second in zip(readable, firsts, seconds, strict=True)]

    def win_shares(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float | None]:
        """Return for each answer the mean probability that it beats another one, 0..1; the mean over the answers is ½.

        None where it could be compared with no other: it is unscored, never 0.
        """
        pairs = list(combinations(range(len(answers)), 2))
        compared = self.compare([messages] * len(pairs), [answers[i] for i, _ in pairs], [answers[j] for _, j in pairs])
        won: list[list[float]] = [[] for _ in answers]
        for (i, j), comparison in zip(pairs, compared, strict=True):
            if comparison is not None:
                won[i].append(comparison.probability)
                won[j].append(1 - comparison.probability)
        return [sum(shares) / len(shares) if shares else None for shares in won]


def side_by_side(first: str, second: str) -> str:
    """Return the text that is read: two final answers in order; an answer cannot open the other's part."""
    parts = [split_reasoning(text)[1].replace(FIRST, " ").replace(SECOND, " ") for text in (first, second)]
    return f"{FIRST}{parts[0]}\n{SECOND}{parts[1]}"


def in_both_orders(pair: PreferencePair) -> PreferencePair:
    """Return a pair of readings: its preferred text has the better answer first, its other text has it second."""
    return pair.model_copy(update={"chosen": side_by_side(pair.chosen, pair.rejected), "rejected": side_by_side(pair.rejected, pair.chosen)})


def save_pairwise_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write model and tokenizer into a folder; equal weights give equal bytes.

    Raises:
        StorageError: the model has more than one output.
    """
    if model.config.num_labels != 1:
        raise StorageError(f"a pairwise model has one output, this one {model.config.num_labels}; make it with create_reward_model")
    model.config.reward_kind = PAIRWISE
    save_reward_model(model, tokenizer, folder, mean=0.0, scale=1.0)


def _comparison(forward: float, backward: float, *, is_same: bool) -> Comparison:
    # Equal texts in two rows of a batch may differ in the last bit; a tie is exact.
    return Comparison(0.0 if is_same else (forward - backward) / 2, (forward + backward) / 2)
