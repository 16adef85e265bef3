"""What is asked of a vLLM engine and what comes back, the same for an engine in a process and for a server.

Rules are those of the native sampler: temperature alone shapes the distribution, the stop tokens are given (the
engine's own idea of them is off), an answer's ids hold its stop token. Every prompt has a seed of its own, and vLLM
gives sample number i of a prompt that seed + i: what a sample draws does not depend on its neighbours or their number.
The logits under it may differ in the last bits with the batch, so an answer can part ways at a near tie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from components.errors import ServiceError, SettingsError
from components.generation.sampler import FinishReason, SamplingOptions
from components.generation.uniforms import row_keys

LEAST_TEMPERATURE = 0.01  # vLLM silently raises smaller ones to it
EnginePart = Literal["weights", "kv_cache"]
# Share of a GPU's memory that must be free where an engine starts. By default vLLM wants 92 %, even where the cache's size is
# given and the share is read for nothing else: it would not start beside a trainer.
FREE_SHARE = 0.01
SEED_BITS = 62  # seeds are signed 64-bit numbers, and the samples of a prompt count up from its own


@dataclass(frozen=True)
class EngineAnswer:
    """One answer as the engine drew it; fields as in `Completion`."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason


class Engine(Protocol):
    """A vLLM engine, wherever it runs. Every call ends within a time limit, or raises ServiceError."""

    def draw(self, prompts: Sequence[Sequence[int]], requests: Sequence[dict[str, Any]]) -> list[list[EngineAnswer]]:
        """Return each prompt's answers; one request (see `sampling_requests`) a prompt."""
        ...

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability, in nats at temperature 1, of every token of a sequence but its first."""
        ...

    def call_workers(self, method: str, arguments: dict[str, Any]) -> None:
        """Call a method of vLLM's workers, or of what we add to them (vllm_worker.py), by name on all of them."""
        ...

    def forget_prompts(self) -> None:
        """Drop the keys and values kept of earlier prompts: they are of former weights."""
        ...

    def sleep(self) -> None:
        """Free the memory of weights and of kept keys and values; both are lost."""
        ...

    def wake(self, part: EnginePart) -> None:
        """Take back the memory of one part, its contents unset."""
        ...

    def close(self) -> None:
        """End the engine and what belongs to it; safe to call twice."""
        ...


def sampling_requests(
    prompts: Sequence[Sequence[int]], options: SamplingOptions, *, stops: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one set of sampling parameters a prompt, named as both `SamplingParams` and the server name them.

    Raises:
        SettingsError: a temperature that vLLM would change without a word.
    """
    if 0 < options.temperature < LEAST_TEMPERATURE:
        raise SettingsError(
            f"sampling: vLLM raises temperature {options.temperature} to {LEAST_TEMPERATURE}; use 0 (greedy) or at least that"
        )
    shared = {
        "n": options.samples if options.temperature > 0 else 1,  # greedy samples are all the same; see `repeated`
        "max_tokens": options.max_new_tokens, "temperature": options.temperature,
        "top_p": 1.0, "top_k": 0, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "stop_token_ids": list(stops), "ignore_eos": True, "logprobs": 0,
    }  # fmt: skip
    keys = row_keys(prompts, samples=1, seed=options.seed)[:, 0] >> (64 - SEED_BITS)
    return [shared | {"seed": seed} for seed in keys.tolist()]


def repeated(groups: list[list[EngineAnswer]], samples: int) -> list[list[EngineAnswer]]:
    """Return `samples` answers a prompt: what was drawn, or the one greedy answer as many times.

    Raises:
        ServiceError: the engine drew another number of answers.
    """
    for number, group in enumerate(groups):
        if len(group) not in (1, samples):
            raise ServiceError(f"vLLM: {len(group)} answers to prompt {number} where {samples} were asked for; check its version")
    return [group * samples if len(group) < samples else group for group in groups]


def refuse_prompts(prompts: Sequence[Sequence[int]], *, vocabulary: int, context: int, max_new_tokens: int) -> None:
    """Check prompts before an engine sees them: an id it does not know ends a vLLM engine, not the request.

    Raises:
        SettingsError: an empty prompt, an unknown id, or a prompt with no room for `max_new_tokens` in the context.
    """
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise SettingsError(f"sampling: prompt {number} is empty; it needs one token at least")
        if min(prompt) < 0 or max(prompt) >= vocabulary:
            raise SettingsError(f"sampling: prompt {number} holds an id outside 0..{vocabulary - 1}; encode it with the model's own tokenizer")
        if len(prompt) + max_new_tokens > context:
            raise SettingsError(
                f"sampling: prompt {number} has {len(prompt)} tokens; with max_new_tokens {max_new_tokens} that is above "
                f"the model's context of {context}; shorten either, or train a model with a larger model.context"
            )


def finish_reason(value: str | None) -> FinishReason:
    """Return the finish reason of an answer.

    Raises:
        ServiceError: it ended in another way (aborted, an error), so its tokens are not a sample.
    """
    if value == "stop" or value == "length":
        return value
    raise ServiceError(f"vLLM: an answer ended with {value!r} and not by a stop token or the length limit; see the engine's log")
