"""What both sides train on: words of the knowledge base at random, as long as the project's own samples.

Lengths in tokens, chat template included, deciles from the shortest to the longest; the longest tenth is cut so that the
mean is the samples' own. Measured on a run of the laptop profile: instructions (22,421 samples, mean 46 tokens, 10 of them
targets) and the reward models' pairs.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.conversations import Message, PreferencePair, Sample
from components.modeling.tokenizers import encode_prompts, encode_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

INSTRUCTION_PROMPT = (16, 20, 24, 27, 30, 32, 35, 39, 45, 54, 80)
INSTRUCTION_ANSWER = (2, 2, 3, 4, 6, 8, 10, 12, 14, 20, 51)
PAIR_PROMPT = (17, 19, 20, 20, 21, 22, 23, 24, 26, 28, 34)
PAIR_CHOSEN = (6, 12, 20, 22, 25, 31, 34, 37, 41, 48, 79)
PAIR_REJECTED = (6, 10, 10, 22, 25, 31, 36, 41, 50, 65, 79)


def corpus(project: Path) -> list[str]:
    """Return the lines of the knowledge base."""
    return [line for path in sorted((project / "data/knowledge_base").glob("*.yaml")) for line in path.read_text(encoding="utf-8").splitlines()]


def drawn_length(deciles: Sequence[float], random_number: random.Random) -> int:
    """Draw a length: a decile interval with equal chances, uniformly inside."""
    place = random_number.random() * (len(deciles) - 1)
    low = deciles[int(place)]
    return round(low + (deciles[int(place) + 1] - low) * (place % 1))


@dataclass
class Writer:
    """Writes texts of asked lengths; equal seeds write equal texts."""

    tokenizer: "PreTrainedTokenizerFast"
    lines: Sequence[str]
    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._words = sorted({word for line in self.lines for word in re.findall(r"[A-Za-z]{2,}", line)})
        self._tokens = [len(ids) for ids in encode_texts(self.tokenizer, [" " + word for word in self._words])]
        self._frame = len(encode_prompts(self.tokenizer, [[Message(role="user", content="a")]])[0])

    def text(self, tokens: int) -> str:
        """Return words of about so many tokens, one word at least."""
        chosen, filled = [], 0
        while not chosen or filled < tokens:
            index = self._random.randrange(len(self._words))
            chosen.append(self._words[index])
            filled += self._tokens[index]
        return " ".join(chosen)

    def question(self, deciles: Sequence[float]) -> Message:
        """Return a user turn; the deciles count the template's tokens too."""
        return Message(role="user", content=self.text(drawn_length(deciles, self._random) - self._frame))

    def answer(self, deciles: Sequence[float]) -> str:
        """Return an answer's text; the deciles count the end of the turn too."""
        return self.text(drawn_length(deciles, self._random) - 1)

    def prompts(self, count: int) -> list[tuple[Message, ...]]:
        """Return one-turn conversations to be answered."""
        return [(self.question(INSTRUCTION_PROMPT),) for _ in range(count)]

    def samples(self, count: int) -> list[Sample]:
        """Return conversations to be tuned on."""
        return [
            Sample(
                id=str(number), task="bench", group="bench",
                messages=(self.question(INSTRUCTION_PROMPT), Message(role="assistant", content=self.answer(INSTRUCTION_ANSWER))),
            )
            for number in range(count)
        ]  # fmt: skip

    def pairs(self, count: int) -> list[PreferencePair]:
        """Return preference pairs, each with a prompt of its own."""
        questions = [self.question(PAIR_PROMPT) for _ in range(count)]
        return [
            PreferencePair(
                id=str(number), dimension="helpfulness", messages=(question.model_copy(update={"content": f"{number}. {question.content}"}),), chosen=self.answer(PAIR_CHOSEN), rejected=self.answer(PAIR_REJECTED)
            )
            for number, question in enumerate(questions)
        ]
