"""Sampling on torch alone: one prefill a prompt shared by its samples, and only live rows in every step.

Prompts are taken in sub-batches of similar length. Each token is drawn by inverse CDF with a number fixed by seed, prompt
and sample (uniforms.py); finished rows are compacted away. Nothing in a step loops over rows in Python.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from components.generation.decoding import Decoding, Drawn
from components.generation.sampler import Completion, Progress, SamplingOptions
from components.generation.uniforms import row_keys, uniforms
from components.modeling.precision import Precision
from components.modeling.tokenizers import stop_ids
from components.modeling.weights import decoder_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ROWS = 512  # answers decoded side by side


class NativeSampler:
    """A `Sampler` over a model in this process; reads the model's weights anew at every call."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        *,
        precision: Precision = "float32",
        rows: int = ROWS,
        is_recorded: bool | None = None,
    ) -> None:
        """Args: rows: answers decoded side by side; is_recorded: replay steps as CUDA graphs (step_graph.py); None: where the model lies on a GPU."""
        self.model = model
        self.tokenizer = tokenizer
        self.precision = precision
        self.rows = rows
        self.is_recorded = is_recorded
        self.weights_version = 0
        self._stops = torch.tensor(stop_ids(tokenizer))

    def sync(self, model: "PreTrainedModel", *, version: int) -> None:
        """Note the version: the weights are the model's own, read at every call."""
        self.model, self.weights_version = model, version

    def rest(self) -> None:
        """Nothing to give back: the weights are the trainer's, and caches go with each call."""

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Return `options.samples` completions of every prompt, in the prompts' order."""
        weights = decoder_weights(self.model, precision=self.precision, adapters="merged")
        is_recorded = weights.embedding.is_cuda if self.is_recorded is None else self.is_recorded
        head_VD = weights.products.operand(self.model.get_output_embeddings().weight)
        keys = row_keys(prompts, samples=options.samples, seed=options.seed)
        order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
        size = max(1, self.rows // options.samples)
        completions: list[list[Completion]] = [[] for _ in prompts]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            numbers = torch.from_numpy(uniforms(keys[chosen], count=options.max_new_tokens))
            decoding = Decoding(
                weights, head_VD, [prompts[i] for i in chosen], options=options, numbers=numbers, stops=self._stops, is_recorded=is_recorded
            )
            for index, group in zip(chosen, self._completions(decoding.run(), options), strict=True):
                completions[index] = group
            if progress:
                progress(min(start + size, len(order)), len(order))
        return completions

    def _completions(self, drawn: Drawn, options: SamplingOptions) -> list[list[Completion]]:
        ids = [row[:length] for row, length in zip(drawn.ids.tolist(), drawn.lengths.tolist(), strict=True)]
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        rows = [
            Completion(tuple(row), tuple(logprobs[: len(row)]), "stop" if stopped else "length", text, self.weights_version)
            for row, logprobs, stopped, text in zip(
                ids, drawn.logprobs.tolist(), drawn.is_stopped.tolist(), texts, strict=True
            )
        ]
        return [rows[start : start + options.samples] for start in range(0, len(rows), options.samples)]
