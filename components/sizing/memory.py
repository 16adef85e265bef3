"""Bytes a GPU holds: trained state under ZeRO, activations with and without recomputation, the sampler's cache.

Sources: ZeRO, arXiv:1910.02054 §3 (2 + 2 + 12 bytes a parameter in mixed precision, divided by stage); activations
counted as in arXiv:2205.05198 §4, for this decoder (grouped heads, head norms, gated feed-forward, no dropout, flash
attention); recomputation from each layer's input, arXiv:1604.06174.
"""

from dataclasses import dataclass

from components.settings.sizing import TrainerShape
from components.sizing.shape import DecoderShape

WEIGHT_BYTES = 2  # bf16
MASTER_BYTES = 12  # float32 weight and AdamW's two moments
LOGIT_BYTES = 3 * (1 << 22) * 4  # one chunk of logits, their gradient and a copy (components/modeling/logprobs.py)


@dataclass(frozen=True)
class TrainerMemory:
    """Bytes on one GPU while it updates."""

    weights: float
    gradients: float
    optimiser: float
    reference: float
    reward_models: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.reference + self.reward_models + self.activations + self.logits

    @property
    def state(self) -> float:
        """What lies there between updates too, and is put aside while the sampler works."""
        return self.weights + self.gradients + self.optimiser + self.reference + self.reward_models


def trainer_memory(shape: DecoderShape, trainer: TrainerShape, *, gpus: int, has_reference: bool, reward_models: int = 0) -> TrainerMemory:
    """Return the bytes a GPU needs to update a model spread over `gpus`.

    Stage 0 keeps all on every GPU; stage 1 divides the optimiser's 12 bytes a parameter by the GPUs, stage 2 the
    gradients too, stage 3 the weights too, and with them the frozen reference and reward models of the same size.
    """
    stage, count = trainer.zero_stage, shape.parameters
    weights = count * WEIGHT_BYTES / (gpus if stage >= 3 else 1)
    return TrainerMemory(
        weights=weights,
        gradients=count * trainer.gradient_bytes / (gpus if stage >= 2 else 1),
        optimiser=count * MASTER_BYTES / (gpus if stage >= 1 else 1),
        reference=weights if has_reference else 0.0,
        reward_models=reward_models * weights,
        activations=activation_bytes(shape, recompute=trainer.recompute, tokens=trainer.micro_tokens) + _gathered(shape, stage),
        logits=LOGIT_BYTES,
    )


def activation_bytes(shape: DecoderShape, *, recompute: bool, tokens: int, bytes_per_value: int = 2) -> float:
    """Return what a forward of `tokens` keeps for its backward.

    A layer keeps, a token: its two inputs and their normed forms 4D; queries, keys and values, raw and normed keys and
    queries 2(H + K)S + KS, the attended values HS; gate, up and their product 3F. Recomputed: each layer's input D,
    and one layer whole.
    """
    heads = (2 * (shape.heads + shape.key_value_heads) + shape.key_value_heads + shape.heads) * shape.head_size
    layer = 4 * shape.hidden + heads + 3 * shape.intermediate
    values = shape.layers * shape.hidden + layer if recompute else shape.layers * layer
    return float(values * tokens * bytes_per_value)


def sampler_weights(shape: DecoderShape, *, tensor_parallel: int) -> float:
    """Return the bytes of the sampler's weights on each GPU of a copy: 2P / n."""
    return shape.parameters * WEIGHT_BYTES / tensor_parallel


def answers_at_once(shape: DecoderShape, *, memory: float, tensor_parallel: int, context: float) -> int:
    """Return how many answers of `context` tokens one copy decodes side by side: memory beside the weights over cache bytes.

    Args:
        memory: bytes of one GPU that may be used.
        context: tokens held for an answer, its prompt's among them (counted for each, as without sharing).
    """
    free = tensor_parallel * (memory - sampler_weights(shape, tensor_parallel=tensor_parallel))
    return max(0, int(free // (shape.cache_bytes() * context)))


def _gathered(shape: DecoderShape, stage: int) -> float:
    """Return the bytes of two layers' weights, gathered whole at stage 3: the one at work and the one fetched ahead."""
    return 2.0 * shape.layer_matrices * WEIGHT_BYTES if stage >= 3 else 0.0
