"""Whether an engine has the weights it was handed: a few sequences scored by it and by the trainer's own model.

Two questions, because an engine may be wrong in two ways. Do the log-probabilities agree (a damaged or half-taken
matrix)? And did the engine's move at all where the trainer's moved (the old weights, which a small step leaves within
any tolerance that rounding asks for)?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.errors import ServiceError
from components.modeling.packed_pass import token_logprobs
from components.modeling.packing import pack_sequences
from components.modeling.reading import read_at

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBES = 4
PROBE_TOKENS = 32
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.25}  # nats, the largest of a probe's tokens
MOVED = 1e-4  # nats: above the trainer's own rounding between two passes over equal weights


@dataclass(frozen=True)
class ProbeScores:
    """Log-probabilities of the probes' tokens at one version of the weights, nats."""

    trainer: np.ndarray
    engine: np.ndarray

    @property
    def gap(self) -> float:
        """The largest difference; not a number where either side has none."""
        return float(np.abs(self.trainer - self.engine).max())


def probe_sequences(*, vocabulary: int, context: int, probes: int = PROBES, tokens: int = PROBE_TOKENS) -> list[list[int]]:
    """Return sequences of random ids, always the same: together they read embeddings all over the vocabulary."""
    generator = np.random.default_rng(0)
    return generator.integers(0, vocabulary, size=(probes, min(tokens, context - 1))).tolist()


@torch.no_grad()
def sequence_logprobs(model: "PreTrainedModel", sequences: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return log p of every token of each sequence but its first under the trainer's model, in float32."""
    batch = pack_sequences(sequences)
    predictors = [start + place for start, length in zip(batch.starts, batch.lengths, strict=True) for place in range(length - 1)]
    index = torch.tensor(predictors)
    logprobs_T, _ = token_logprobs(model, read_at(batch, index), batch.ids_T.index_select(0, index + 1), precision="float32")
    return [part.tolist() for part in logprobs_T.split([length - 1 for length in batch.lengths])]


def probe_scores(trainer: Sequence[Sequence[float]], engine: Sequence[Sequence[float]]) -> ProbeScores:
    """Lay both sides' scores of the same probes side by side.

    Raises:
        ServiceError: the engine scored another number of tokens.
    """
    if [len(part) for part in trainer] != [len(part) for part in engine]:
        raise ServiceError("vLLM: it scored another number of probe tokens than it was given; check its version")
    return ProbeScores(*(np.concatenate([np.asarray(part, dtype=np.float64) for part in side]) for side in (trainer, engine)))


def refuse_mismatch(scores: ProbeScores, before: ProbeScores | None, *, tolerance: float, version: int) -> None:
    """Check an engine after a sync.

    Args:
        before: the scores after the sync before; None at the first.
    Raises:
        ServiceError: the engine's weights are not those it was handed; nothing it draws may be used.
    """
    if not scores.gap <= tolerance:
        raise ServiceError(
            f"vLLM: after the sync of weights version {version} a probe's log-probability is off by {scores.gap:.3g} nats (tolerance "
            f"{tolerance:g}): the engine does not have the trainer's weights; check vLLM's version, or set vllm.tolerance if rounding explains it"
        )
    if before is None:
        return
    moved = float(np.abs(scores.trainer - before.trainer).max())
    if moved > MOVED and np.array_equal(scores.engine, before.engine):
        raise ServiceError(
            f"vLLM: after the sync of weights version {version} the engine's log-probabilities are those of the version before, to the last bit, "
            f"where the trainer's moved by {moved:.3g} nats: it still has the old weights; check vLLM's version"
        )
