"""A sampler that says what it was told to: for tests of everything that stands on samples."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from components.errors import DataError
from components.generation.sampler import Completion, Progress, SamplingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Answers = Sequence[Sequence[str]] | Callable[[Sequence[int], int], str]


class ScriptedSampler:
    """Returns given texts: `answers[prompt][sample]` in turn, or `answers(prompt ids, sample)`.

    Lists are used up over calls and start again at their end; ids are the text's UTF-8 bytes and every log-probability 0.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.seen: list[tuple[int, ...]] = []
        self.synced: list[int] = []  # versions, in the order of the calls
        self._next = 0

    def generate(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Return `options.samples` scripted completions of every prompt."""
        completions = []
        for done, prompt in enumerate(prompts, start=1):
            self.seen.append(tuple(prompt))
            completions.append([self._completion(text) for text in self._texts(prompt, options.samples)])
            if progress:
                progress(done, len(prompts))
        return completions

    def sync(self, model: "PreTrainedModel", *, version: int) -> None:
        """Remember the version."""
        self.synced.append(version)

    def rest(self) -> None:
        """Nothing to give back."""

    def _texts(self, prompt: Sequence[int], samples: int) -> list[str]:
        if callable(self.answers):
            return [self.answers(prompt, sample) for sample in range(samples)]
        if not self.answers or not self.answers[self._next % len(self.answers)]:
            raise DataError("scripted sampler: it was given no answers for this prompt; give it at least one")
        texts = self.answers[self._next % len(self.answers)]
        self._next += 1
        return [texts[sample % len(texts)] for sample in range(samples)]

    def _completion(self, text: str) -> Completion:
        ids = tuple(text.encode())
        return Completion(ids, (0.0,) * len(ids), "stop", text, self.synced[-1] if self.synced else 0)
