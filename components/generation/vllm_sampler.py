"""Sampling by vLLM: the sampler over any vLLM engine (`colocated_engine.py`, `server_engine.py`).

After each sync the engine's log-probabilities of a few probes are compared with the trainer's own model's; an engine
that fails is not asked again.

On one GPU a step goes: wake the weights' memory → take the trainer's weights → wake the cache's → sample → sleep → update
(`VllmSettings.sleep`). Sleep drops weights and cache alike: the next sync brings the weights anew.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from components.errors import ServiceError
from components.generation.engine_requests import Engine, EngineAnswer, refuse_prompts, repeated, sampling_requests
from components.generation.sampler import Completion, Progress, SamplingOptions
from components.generation.weight_broadcast import WeightBroadcast
from components.generation.weight_folder import WeightFolder
from components.generation.weight_probes import (
    TOLERANCES,
    ProbeScores,
    probe_scores,
    probe_sequences,
    refuse_mismatch,
    sequence_logprobs,
)
from components.modeling.tokenizers import stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class VllmSampler:
    """A `Sampler` over a vLLM engine; `sync` gives it the trainer's weights and checks that it has them."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        vocabulary: int,
        context: int,
        dtype: torch.dtype,
        tolerance: float | None = None,
        weights: "WeightFolder | WeightBroadcast | None" = None,
        sleeps: bool = False,
    ) -> None:
        """Args: weights: how they get to the engine; None: by a folder of this machine; sleeps: the engine gives its memory back in `rest`."""
        self.engine = engine
        self.tokenizer = tokenizer
        self.vocabulary, self.context = vocabulary, context
        self.tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
        self.weights_version = 0
        self.scores: ProbeScores | None = None  # of the last sync
        self._probes = probe_sequences(vocabulary=vocabulary, context=context)
        self.weights = weights or WeightFolder(dtype=dtype)
        self.sleeps, self._is_asleep = sleeps, False
        self._is_trusted = True

    def generate(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Return `options.samples` completions of every prompt, in the prompts' order.

        Raises:
            SettingsError: a prompt or a temperature the engine cannot take.
            ServiceError: the engine failed, took too long, or did not take the weights of the last sync.
        """
        if not self._is_trusted:
            raise ServiceError("vLLM: the last sync of weights failed, or none came since it was put to sleep: what it would draw is of unknown weights; start the run again")
        refuse_prompts(prompts, vocabulary=self.vocabulary, context=self.context, max_new_tokens=options.max_new_tokens)
        requests = sampling_requests(prompts, options, stops=stop_ids(self.tokenizer))
        groups = repeated(self.engine.draw(prompts, requests), options.samples)
        if progress:
            progress(len(prompts), len(prompts))
        return [self._completions(group) for group in groups]

    def sync(self, model: "PreTrainedModel", *, version: int) -> None:
        """Replace the engine's weights by the model's, and check a few log-probabilities.

        Raises:
            ServiceError: the engine failed, took too long, or does not have the weights.
            StorageError: the weights cannot be written.
        """
        self._is_trusted = False
        if self._is_asleep:  # the weights' memory first: the cache's is not there while both copies of the weights are
            release_cached_memory()
            self.engine.wake("weights")
        self.weights.hand_over(model, version=version, engine=self.engine)
        self.engine.call_workers("mend_tied_head", {})
        if self._is_asleep:
            self.engine.wake("kv_cache")
            self._is_asleep = False
        self.engine.forget_prompts()
        scores = probe_scores(sequence_logprobs(model, self._probes), self.engine.score(self._probes))
        refuse_mismatch(scores, self.scores, tolerance=self.tolerance, version=version)
        self.scores, self.weights_version, self._is_trusted = scores, version, True

    def rest(self) -> None:
        """Put an engine that shares the trainer's GPU to sleep; it is woken by the next `sync`."""
        if self.sleeps and not self._is_asleep:
            self._is_asleep, self._is_trusted = True, False
            self.engine.sleep()

    def close(self) -> None:
        """End the engine and remove the weights written for it."""
        try:
            self.engine.close()
        finally:
            self.weights.close()

    def _completions(self, group: Sequence[EngineAnswer]) -> list[Completion]:
        texts = self.tokenizer.batch_decode([list(answer.ids) for answer in group], skip_special_tokens=True)
        return [
            Completion(answer.ids, answer.logprobs, answer.finish_reason, text, self.weights_version)
            for answer, text in zip(group, texts, strict=True)
        ]


def release_cached_memory() -> None:
    """Give back the GPU memory that torch keeps in this process for later: an engine on the same GPU cannot use it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
