"""Sampling answers to conversations: the chat template, then any sampler."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.conversations import Message
from components.generation.sampler import Completion, Progress, Sampler, SamplingOptions
from components.modeling.tokenizers import encode_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def sample_conversations(
    sampler: Sampler,
    tokenizer: "PreTrainedTokenizerFast",
    conversations: Sequence[Sequence[Message]],
    options: SamplingOptions,
    *,
    progress: Progress | None = None,
) -> list[list[Completion]]:
    """Return `options.samples` answers to every conversation (each ends with a user turn), in order."""
    return sampler.generate(encode_prompts(tokenizer, conversations), options, progress=progress)
