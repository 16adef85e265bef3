"""Checkpoints of a policy run: weights, optimiser, resampler, best weights so far, record position and the reference's identity.

Everything random in the loop is a function of (seed, step), so these make a resumed run equal an undisturbed one bit
for bit. What does not match (another reference, other prompts) is refused.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from components.errors import StorageError
from components.lineage import digest_bytes, digest_value
from components.recorder import Recorder
from components.storage.checkpoints import CheckpointFolder
from components.storage.random_states import random_states, restore_random_states
from components.training.engines.engine import Engine
from components.training.policy.resampling import PromptResampler
from components.training.selection import Selection


def weights_digest(model: nn.Module) -> str:
    """Return the digest of a model's weights: of every tensor's name and bytes."""
    parts = [[name, digest_bytes(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())] for name, tensor in sorted(model.state_dict().items())]
    return digest_value(parts)


def prompts_digest(ids: Sequence[str], encoded: Sequence[Sequence[int]]) -> str:
    """Return the digest of the prompts of a run, in order."""
    return digest_value([[identifier, list(tokens)] for identifier, tokens in zip(ids, encoded, strict=True)])


def save_state(
    checkpoints: CheckpointFolder,
    *,
    step: int,
    engine: Engine,
    resampler: PromptResampler,
    selection: Selection | None,
    identity: dict[str, str],
    totals: dict[str, Any],
    recorder: Recorder,
) -> None:
    """Write a checkpoint after `step` optimiser steps, in the background; `identity` names what a resume must find unchanged.

    Raises:
        Diverged: the weights are no numbers.
        StorageError: the checkpoint before cannot be written.
    """
    state = {
        "identity": identity,
        "resampler": resampler.state(),
        "rng": random_states(),
        "record": recorder.position(),
        "totals": totals,
        "looks": selection.looks if selection else [],
    }
    engine.save(checkpoints, step, state=state, extra=selection.tensors() if selection else {})


def restore_state(
    checkpoints: CheckpointFolder,
    *,
    engine: Engine,
    resampler: PromptResampler,
    selection: Selection | None,
    identity: dict[str, str],
    recorder: Recorder,
) -> tuple[int, dict[str, Any]]:
    """Go on from the newest sound checkpoint, if there is one; return its step and totals (0 and {} for a fresh start).

    Raises:
        StorageError: no sound checkpoint, or one of a run with another reference or other prompts.
    """
    checkpoint, warnings = engine.latest(checkpoints)
    if checkpoint is None:
        return 0, {}
    for name, value in identity.items():
        if checkpoint.state["identity"].get(name) != value:
            raise StorageError(
                f"{checkpoints.folder}: the checkpoint was made with another {name} ({str(checkpoint.state['identity'].get(name))[:12]}, "
                f"now {value[:12]}); delete the folder to start this stage anew"
            )
    engine.restore_tensors(checkpoint.tensors)
    resampler.restore(checkpoint.state["resampler"])
    if selection:
        selection.restore(checkpoint.state["looks"], checkpoint.tensors)
    restore_random_states(checkpoint.state["rng"])
    recorder.rewind(checkpoint.state["record"], step=checkpoint.step)
    for warning in warnings:
        recorder.warning(warning)
    return checkpoint.step, checkpoint.state["totals"]

