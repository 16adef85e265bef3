"""Decoding one sub-batch: prefill each prompt once, then draw token by token for the rows still live.

No step loops over rows in Python. Finished rows are compacted away in batches. With `is_recorded`, a GPU replays the
model's part of a step as a CUDA graph (step_graph.py), which every compaction makes anew: then only half-empty batches are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from components.generation.drawing import draw_tokens
from components.generation.key_value_cache import LayerCache, attend_two_parts
from components.generation.prefill import prefill_prompts
from components.generation.row_layout import RowLayout
from components.generation.sampler import SamplingOptions
from components.generation.step_graph import StepGraph, attended
from components.modeling.attention import turned_queries_and_keys
from components.modeling.forward import attention_output, feed_forward, final_norm, project_heads, rotary_tables
from components.modeling.weights import DecoderWeights

COMPACT_BELOW = 0.85  # live share under which finished rows are dropped
RECORDED_COMPACT_BELOW = 0.5  # the same of recorded steps


@dataclass(frozen=True)
class Drawn:
    """What was drawn for the rows of a sub-batch, prompt by prompt."""

    ids: Tensor  # (rows, max new tokens), int64
    logprobs: Tensor  # the same, float32
    lengths: Tensor  # (rows,), the stop token counted
    is_stopped: Tensor  # (rows,), False: ended by the length limit


class Decoding:
    """The state of one sub-batch; row tensors hold the rows not yet compacted away."""

    def __init__(
        self,
        weights: DecoderWeights,
        head_VD: Tensor,
        prompts: Sequence[Sequence[int]],
        *,
        options: SamplingOptions,
        numbers: Tensor,
        stops: Tensor,
        is_recorded: bool = False,
    ) -> None:
        self.weights, self.head_VD, self.options = weights, head_VD, options
        self.is_recorded = is_recorded
        self.graph: StepGraph | None = None
        rows, device = len(prompts) * options.samples, weights.embedding.device
        self.numbers, self.stops = numbers.to(device), stops.to(device)
        self.owner = torch.arange(len(prompts), device=device).repeat_interleave(options.samples)  # prompt of each row
        self.layout = RowLayout.of(self.owner, shape=weights.shape)
        self.row = torch.arange(rows, device=device)  # place of each row in the results
        self.is_live = torch.ones(rows, dtype=torch.bool, device=device)
        self.positions = torch.tensor([len(prompt) for prompt in prompts], device=device).index_select(0, self.owner)
        self.hidden = self._prefill(prompts).index_select(0, self.owner)
        self.drawn = Drawn(
            ids=torch.zeros(rows, options.max_new_tokens, dtype=torch.int64, device=device),
            logprobs=torch.zeros(rows, options.max_new_tokens, device=device),
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            is_stopped=torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def run(self) -> Drawn:
        """Draw until every row has stopped or is full."""
        for step in range(self.options.max_new_tokens):
            tokens, logprobs = self._draw(step)
            self.drawn.ids[:, step].index_copy_(0, self.row, tokens)  # of rows that have stopped too: past their lengths
            self.drawn.logprobs[:, step].index_copy_(0, self.row, logprobs)
            self.drawn.lengths.index_add_(0, self.row, self.is_live.to(torch.int64))
            has_stopped = (tokens[:, None] == self.stops).any(dim=1) & self.is_live
            self.drawn.is_stopped[self.row] |= has_stopped
            self.is_live &= ~has_stopped
            remaining = int(self.is_live.sum())
            if not remaining or step + 1 == self.options.max_new_tokens:
                break
            if remaining < (RECORDED_COMPACT_BELOW if self.is_recorded else COMPACT_BELOW) * len(self.row):
                tokens = self._compact(tokens, filled=step)
            self._advance(tokens, step)
        return self.drawn

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Run the prompts once; fill the prompt part of the caches; return each prompt's last hidden state."""
        prefilled = prefill_prompts(self.weights, prompts)
        heads = self.weights.shape.key_value_heads
        self.mask = None if prefilled.mask_PL is None else prefilled.mask_PL[:, None, None].repeat(1, heads, 1, 1)
        suffix = (len(self.owner), self.weights.shape.key_value_heads, self.options.max_new_tokens, self.weights.shape.size)
        self.caches = [
            LayerCache.beside(keys, values, suffix, is_zeroed=self.is_recorded)
            for keys, values in zip(prefilled.keys, prefilled.values, strict=True)
        ]
        return prefilled.hidden_PD

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return each row's next token and its log-probability at the sampling temperature."""
        products = self.weights.products
        logits_RV = products.linear(products.entering(self.hidden), self.head_VD).float()
        return draw_tokens(logits_RV, self.numbers[:, step].index_select(0, self.row), temperature=self.options.temperature)

    def _compact(self, tokens: Tensor, *, filled: int) -> Tensor:
        """Drop finished rows, and prompts with none left; return the kept rows' tokens."""
        self.graph = None
        kept = self.is_live.nonzero()[:, 0]
        prompts, self.owner = self.owner.index_select(0, kept).unique_consecutive(return_inverse=True)
        are_dropped = len(prompts) < self.caches[0].prompt_keys.shape[0]
        for cache in self.caches:
            cache.keep(kept, prompts if are_dropped else None, filled=filled)
        if self.mask is not None and are_dropped:
            self.mask = self.mask.index_select(0, prompts)
        self.layout = RowLayout.of(self.owner, shape=self.weights.shape)
        self.row, self.positions = self.row.index_select(0, kept), self.positions.index_select(0, kept)
        self.is_live = torch.ones(len(kept), dtype=torch.bool, device=kept.device)
        return tokens.index_select(0, kept)

    def _advance(self, tokens: Tensor, step: int) -> None:
        """Run the drawn tokens through the model; their keys and values take suffix position `step`."""
        if not self.is_recorded:
            self.hidden = self._pass(tokens, step, filled=step + 1)
            return
        filled = attended(step, longest=self.options.max_new_tokens)
        if self.graph is None or self.graph.filled != filled:
            run = partial(self._pass, filled=filled)
            self.graph = StepGraph(lambda ids, place, mask: run(ids, place, own_mask=mask), tokens, step, filled=filled, dtype=self.weights.dtype)
        self.hidden = self.graph(tokens, step)

    def _pass(self, tokens: Tensor, step: int | Tensor, *, filled: int, own_mask: Tensor | None = None) -> Tensor:
        """Return the final hidden states after the tokens, (rows, hidden).

        Args:
            step: a number, or a tensor of one.
            filled, own_mask: see `attend_two_parts`.
        """
        weights = self.weights
        cosine, sine = rotary_tables(weights, self.positions + step)
        hidden = weights.embedding.index_select(0, tokens)
        for layer, cache in zip(weights.layers, self.caches, strict=True):
            joined = project_heads(hidden, layer, weights)
            heads = turned_queries_and_keys(joined, layer.head_norms, cosine, sine, weights.shape)
            cache.put(heads[:, weights.shape.heads :], joined[:, -weights.shape.key_value_heads :], step)
            seen = attend_two_parts(heads, cache, filled=filled, layout=self.layout, mask=self.mask, own_mask=own_mask)
            hidden = hidden + attention_output(seen, layer)
            hidden = hidden + feed_forward(hidden, layer, weights)
        return final_norm(hidden, weights)
