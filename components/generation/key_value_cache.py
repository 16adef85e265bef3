"""The decoding cache in two parts: each prompt's keys and values once, and each row's own suffix, preallocated.

A step multiplies queries with each part apart and takes one softmax over the joined scores, so it is exact. Plain batched
products: PyTorch's flash kernel takes 2 ms on a CPU where they take 0.3 (512 rows of 32 own tokens). At a few rows a step
takes as long as the number of its kernels, so they are counted.
Shapes: P prompts, R rows, K key-value heads, Q query heads per key-value head, L prompt length, S suffix, D head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from components.generation.row_layout import RowLayout


@dataclass
class LayerCache:
    """One layer's cache; `suffix_*` are filled up to the current step."""

    prompt_keys: Tensor  # (P, K, L, D)
    prompt_values: Tensor
    suffix_keys: Tensor  # (R, K, S, D)
    suffix_values: Tensor
    is_zeroed: bool = False  # places not written yet hold zeros: steps that attend to them multiply them with shares of 0

    @classmethod
    def beside(cls, prompt_keys: Tensor, prompt_values: Tensor, suffix: tuple[int, int, int, int], *, is_zeroed: bool) -> "LayerCache":
        """Return the cache of prompts with room for a suffix of the size (R, K, S, D)."""
        make = prompt_keys.new_zeros if is_zeroed else prompt_keys.new_empty
        return cls(prompt_keys, prompt_values, make(suffix), make(suffix), is_zeroed)

    def put(self, keys: Tensor, values: Tensor, place: int | Tensor) -> None:
        """Write each row's new key and value, (R, K, D), at a suffix position: a number, or a tensor of one."""
        for cache, new in ((self.suffix_keys, keys), (self.suffix_values, values)):
            if isinstance(place, int):
                cache[:, :, place] = new
            else:
                cache.index_copy_(2, place, new[:, :, None])

    def keep(self, rows: Tensor, prompts: Tensor | None, *, filled: int) -> None:
        """Keep only the given rows, and the given prompts where not None."""
        for name in ("suffix_keys", "suffix_values"):
            old = getattr(self, name)
            new = (old.new_zeros if self.is_zeroed else old.new_empty)(len(rows), *old.shape[1:])
            new[:, :, :filled] = old[:, :, :filled].index_select(0, rows)
            setattr(self, name, new)
        if prompts is not None:
            self.prompt_keys = self.prompt_keys.index_select(0, prompts)
            self.prompt_values = self.prompt_values.index_select(0, prompts)


def attend_two_parts(
    heads: Tensor, cache: LayerCache, *, filled: int, layout: RowLayout, mask: Tensor | None, own_mask: Tensor | None = None
) -> Tensor:
    """Attend one new token a row to its prompt and its own suffix.

    Args:
        heads: (R, query heads + K, D): of each row, turned; queries, scaled by 1 / sqrt(D), before keys.
        filled: suffix positions in use, the new token's included.
        mask: (P, K, 1, L) additive, minus infinity on padding; None where all prompts are equally long.
        own_mask: (filled,) the same of the suffix; None where all of it is seen.
    Returns:
        (R, query heads · D).
    """
    rows, size, longest = len(heads), heads.shape[-1], cache.prompt_keys.shape[2]
    prompt_keys, prompt_values = (part.view(-1, longest, size) for part in (cache.prompt_keys, cache.prompt_values))
    own_keys, own_values = (part.view(layout.rows[0], -1, size)[:, :filled] for part in (cache.suffix_keys, cache.suffix_values))
    places = heads.view(-1, size).index_select(0, layout.laid_out)
    by_prompt, by_row = places[: len(layout.to_grid)].view(*layout.grid, size), places[len(layout.to_grid) :].view(*layout.rows, size)
    before = _product(by_prompt, prompt_keys.transpose(1, 2), None if mask is None else mask.view(-1, 1, longest))
    own = _product(by_row, own_keys.transpose(1, 2), own_mask)
    shares = torch.softmax(torch.cat([before.view(-1, longest).index_select(0, layout.to_rows).view(*layout.rows, longest), own], dim=-1), dim=-1)
    of_grid = shares.view(-1, longest + filled).index_select(0, layout.to_grid).view(*layout.grid, longest + filled)
    of_prompt = torch.bmm(of_grid[..., :longest], prompt_values).view(-1, size).index_select(0, layout.to_rows)
    return torch.baddbmm(of_prompt.view(*layout.rows, size), shares[..., longest:], own_values).view(rows, -1)


def _product(first: Tensor, second: Tensor, mask: Tensor | None) -> Tensor:
    return torch.bmm(first, second) if mask is None else torch.baddbmm(mask, first, second)
