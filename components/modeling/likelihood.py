"""Scoring options by likelihood: how probable each option's text is after a raw prefix."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from components.modeling.micro_batches import cut_by_tokens
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_trees
from components.modeling.precision import Precision
from components.modeling.reading import read_answers
from components.modeling.tokenizers import encode_texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH_TOKENS = 4096


@torch.no_grad()
def option_logprobs(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prefixes: Sequence[str],
    options: Sequence[Sequence[str]],
    *,
    precision: Precision = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> list[list[float]]:
    """Return the mean log-probability of every option's tokens after its prefix (outer: prefixes; inner: options).

    A text takes `<|endoftext|>` before it, as documents did in pre-training. Prefix and option are tokenised apart, so an
    option should bring its own leading space.
    """
    start = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    prompts = [[start, *ids] for ids in encode_texts(tokenizer, prefixes)]
    flat = encode_texts(tokenizer, [option for group in options for option in group])
    trees, position = [], 0
    for group in options:
        trees.append(flat[position : position + len(group)])
        position += len(group)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    scores: list[list[float]] = [[] for _ in prompts]
    sizes = [len(prompt) + sum(map(len, tree)) for prompt, tree in zip(prompts, trees, strict=True)]
    for batch in cut_by_tokens(order, tokens=lambda index: sizes[index], micro_tokens=BATCH_TOKENS):
        for index, values in zip(
            batch, _score(model, [prompts[i] for i in batch], [trees[i] for i in batch], precision), strict=True
        ):
            scores[index] = values
        if progress:
            progress(sum(1 for item in scores if item), len(prompts))
    return scores


def _score(
    model: "PreTrainedModel", prompts: list[list[int]], trees: list[list[list[int]]], precision: Precision
) -> list[list[float]]:
    packed, targets = read_answers(pack_trees(prompts, trees), answers_per_prompt=[len(tree) for tree in trees])
    logprobs, _ = token_logprobs(model, packed, targets, precision=precision)
    parts = iter(logprobs.split(list(packed.lengths)))
    return [[float(next(parts).mean()) for _ in tree] for tree in trees]
