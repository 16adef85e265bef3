"""A run whose numbers lost their meaning: it stops before the step that would spoil the weights, and the evidence is kept.

`diverged.json` beside the checkpoints says which step it was, what was in its batch (ids, never text), the losses before
and the gradient's norm. Weights that are not finite are never saved, so the newest checkpoint is the last good state.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from components.errors import Diverged
from components.storage.checkpoints import CheckpointFolder
from components.storage.files import write_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

EVIDENCE = "diverged.json"
SPIKE_WINDOW = 20  # losses, the new one among them, whose mean is what a spike is told from


@dataclass(frozen=True)
class Evidence:
    """What is known of the step that was refused; steps count from 0."""

    step: int
    reason: str
    batch: Sequence[str] = ()  # ids
    losses_before: Sequence[float] = ()  # of the last steps, oldest first
    values: Mapping[str, float] = field(default_factory=dict)  # loss, gradient_norm, learning_rate, kl, …


def stop_as_diverged(evidence: Evidence, *, checkpoints: CheckpointFolder | None, advice: str = "") -> NoReturn:
    """Write the evidence beside the checkpoints and stop.

    Raises:
        Diverged: always; names the step, the reason, the state that is kept and the file.
    """
    kept = ""
    if checkpoints is not None:
        step = checkpoints.newest_step()
        path = write_evidence(checkpoints.folder, evidence, last_good_step=step)
        kept = f" (kept: the state after step {step}; evidence: {path})" if step is not None else f" (evidence: {path})"
    raise Diverged(f"step {evidence.step}: {evidence.reason}{advice and f'; {advice}'}{kept}")


def write_evidence(folder: Path, evidence: Evidence, *, last_good_step: int | None) -> Path:
    """Write `diverged.json` and return its path; numbers that are not finite stand as text."""
    path = folder / EVIDENCE
    write_json(path, _as_json({**asdict(evidence), "last_good_step": last_good_step}))
    return path


def is_sound_loss(loss: float, before: Sequence[float], *, spike_limit: float) -> bool:
    """Say whether a loss is a number and, once there are enough of them, within `spike_limit` of the mean of those before."""
    limit = sum(before) / len(before) + spike_limit if len(before) >= SPIKE_WINDOW - 1 else math.inf
    return math.isfinite(loss) and loss <= limit


def with_loss(before: Sequence[float], loss: float) -> list[float]:
    """Return the losses to keep after a step: the last of those before, and the new one."""
    return [*before[1 - SPIKE_WINDOW :], loss]


def refuse_unsound(tensors: "Mapping[str, Tensor]", *, step: int, checkpoints: CheckpointFolder | None) -> None:
    """Refuse to keep weights or moments that hold a value which is no number; `step` is the number of steps taken.

    Raises:
        Diverged: there are such; names the first of them.
    """
    unsound = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if unsound:
        evidence = Evidence(step=max(0, step - 1), reason=f"{unsound[0]} and {len(unsound) - 1} more hold values that are no numbers")
        stop_as_diverged(evidence, checkpoints=checkpoints, advice="lower optimiser.learning_rate, or look at the model it began with")


def gradient_norm(model: "Module") -> float:
    """Return the global norm of the gradients a model holds, on all ranks where they lie in parts; 0 where it holds none."""
    from torch.nn.utils import get_total_norm

    from components.training.parts import whole_tensor

    return float(whole_tensor(get_total_norm([parameter.grad for parameter in model.parameters() if parameter.grad is not None])))


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
