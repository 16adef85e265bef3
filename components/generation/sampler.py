"""What every sampler is: prompts of token ids in, completions with their log-probabilities out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from components.errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FinishReason = Literal["stop", "length"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplingOptions:
    """How answers are drawn. Nothing but temperature shapes the distribution: top-p 1, top-k off, no penalties."""

    max_new_tokens: int
    samples: int = 1
    temperature: float = 1.0  # 0: the most probable token
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.samples < 1 or self.temperature < 0:
            raise SettingsError(
                f"sampling: max_new_tokens {self.max_new_tokens} and samples {self.samples} must be at least 1 and "
                f"temperature {self.temperature} not below 0"
            )


@dataclass(frozen=True)
class Completion:
    """One drawn answer.

    `ids` hold the stop token where there is one; `logprobs` are of each id at the sampling temperature (at temperature 1
    for greedy answers); `text` is decoded without control tokens; `weights_version` is the version last handed to
    `Sampler.sync`, 0 before any.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    text: str
    weights_version: int = 0


class Sampler(Protocol):
    """Draws completions; results are in the order of the prompts, `samples` for each."""

    def generate(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Return the completions of every prompt; `progress(done, total)` counts prompts."""
        ...

    def sync(self, model: "PreTrainedModel", *, version: int) -> None:
        """Draw from `model`'s present weights from now on, and stamp answers with `version`.

        A training loop calls it before it samples, after every change of the weights.
        """
        ...

    def rest(self) -> None:
        """Give back what memory can be spared until the next `sync`: a training loop calls it when it has its samples."""
        ...
