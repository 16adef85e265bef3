"""The two floors of a training step: the fewest seconds its own tokens allow on a device of a known speed.

    update    operations of every pass over the step's tokens / operations a second
    generate  Σ over decode steps of max(bytes read / bandwidth, operations / operations a second), the prefill before them

Operations: `DecoderShape.forward_flops`; a pass forward and back is three forwards, two where the matrices themselves
get no gradient (adapters), so nothing computed twice is counted. Bytes of a decode step: the matrices and the head once,
and the keys and values of all live answers, a prompt's once for all of its answers, as they lie in the sampler's cache
(roofline, doi:10.1145/1498765.1498785; arXiv:2211.05102 §2 for decoding). All answers of a rollout are taken to decode
side by side and to leave as they end. Left out: norms, softmax, drawing, the optimiser, embedding rows.

A floor is no prediction: small products reach less of the peak than the large ones it was measured with, and a small
model's weights may come from a cache faster than the memory that was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.sizing.machine import DeviceSpeed
from components.sizing.shape import DecoderShape

TRAINED, ADAPTED = 3.0, 2.0  # forwards' worth of operations in one pass forward and back


@dataclass(frozen=True)
class Tree:
    """Tokens of a prompt and of each of its answers, which see it and themselves; a plain sequence has no answers."""

    prompt: int
    answers: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of one pass, the prompt laid in once."""
        return self.prompt + sum(self.answers)

    @property
    def pairs(self) -> float:
        """(query, key) pairs attended: p²/2, and a·p + a²/2 an answer."""
        return self.prompt**2 / 2 + sum(answer * self.prompt + answer**2 / 2 for answer in self.answers)


def forward_flops(shape: DecoderShape, trees: Sequence[Tree], *, headed: float, read: float | None = None) -> float:
    """Return the operations of one forward pass; `headed` tokens' logits are computed, `read` ones' final states used (None: theirs)."""
    return shape.forward_flops(
        tokens=sum(tree.tokens for tree in trees), headed=headed, seen=sum(tree.pairs for tree in trees), read=headed if read is None else read
    )


def generate_floor(shape: DecoderShape, trees: Sequence[Tree], *, speed: DeviceSpeed, weight_bytes: int, cached_bytes: int) -> float:
    """Return the floor of one rollout, in seconds: `trees` are its prompts and what was drawn for them.

    The first token of an answer comes of the prefill, so an answer of n tokens takes n − 1 decode steps.

    Args:
        weight_bytes, cached_bytes: of a weight, and of a number of a key or value, as the sampler holds them.
    """
    if not trees:
        return 0.0
    weights = (shape.body + shape.head) * weight_bytes
    cached = shape.cache_bytes(bytes_per_value=cached_bytes)
    prompts = [Tree(tree.prompt) for tree in trees]
    prefill = max(weights / speed.bandwidth, forward_flops(shape, prompts, headed=len(prompts)) / speed.flops)
    each = [(tree.prompt, length) for tree in trees for length in tree.answers]
    longest = [(tree.prompt, max(tree.answers, default=0)) for tree in trees]
    answers_S, own_prompts_S, held_prompts_S = _live(each, weighted=False), _live(each, weighted=True), _live(longest, weighted=True)
    own_S = answers_S * np.arange(1, len(answers_S) + 1)
    computed_S = shape.forward_flops(tokens=answers_S, headed=answers_S, seen=own_prompts_S + own_S)
    reads_S = weights + (held_prompts_S + own_S) * cached
    return prefill + float(np.maximum(reads_S / speed.bandwidth, computed_S / speed.flops).sum())


def _live(rows: Sequence[tuple[int, int]], *, weighted: bool) -> np.ndarray:
    """Return how many (prompt, length) rows are longer than each decode step 1, 2, …; their prompts' tokens where weighted."""
    prompts, lengths = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    ending = np.bincount(lengths, weights=prompts if weighted else None, minlength=2).astype(np.float64)
    return ending[::-1].cumsum()[::-1][2:]
