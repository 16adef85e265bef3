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


def forward_flops(shape: DecoderShape, trees: Sequence[Tree], *, headed: float) -> float:
    """Return the operations of one forward pass; `headed` tokens' logits are computed."""
    return shape.forward_flops(tokens=sum(tree.tokens for tree in trees), headed=headed, seen=sum(tree.pairs for tree in trees))


def generate_floor(shape: DecoderShape, trees: Sequence[Tree], *, speed: DeviceSpeed, value_bytes: int) -> float:
    """Return the floor of one rollout, in seconds: `trees` are its prompts and what was drawn for them.

    The first token of an answer comes of the prefill, so an answer of n tokens takes n − 1 decode steps.

    Args:
        value_bytes: of a weight, a key or a value as the sampler holds them.
    """
    if not trees:
        return 0.0
    weights = (shape.body + shape.head) * value_bytes
    cached = shape.cache_bytes(bytes_per_value=value_bytes)
    prompts = [Tree(tree.prompt) for tree in trees]
    total = max(weights / speed.bandwidth, forward_flops(shape, prompts, headed=len(prompts)) / speed.flops)
    for step in range(1, max((length for tree in trees for length in tree.answers), default=0)):
        live = [(tree.prompt, sum(length > step for length in tree.answers)) for tree in trees]
        answers = sum(count for _, count in live)
        seen = sum(count * (prompt + step) for prompt, count in live)
        held = sum(prompt for prompt, count in live if count) + answers * step
        computed = shape.forward_flops(tokens=answers, headed=answers, seen=seen)
        total += max((weights + held * cached) / speed.bandwidth, computed / speed.flops)
    return total
