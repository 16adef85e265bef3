"""The state of every random number generator of a process, as JSON for a checkpoint, and back.

Python's `random`, numpy's global generator, torch's of the CPU and of each CUDA device. The loops draw from none of them
(what they draw is a function of seed and step); a reward function of one's own may.
"""

import base64
import random
from typing import TYPE_CHECKING, Any

from components.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor


def random_states() -> dict[str, Any]:
    """Return the states: {"python", "numpy", "torch_cpu", "torch_cuda": one a device}."""
    import numpy
    import torch

    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = numpy.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, [int(key) for key in keys], position, has_gauss, cached],
        "torch_cpu": _text(torch.get_rng_state()),
        "torch_cuda": [_text(state) for state in devices],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put every generator back to a state from `random_states`.

    Raises:
        StorageError: a generator's state is missing, or they were taken on another number of CUDA devices.
    """
    import numpy
    import torch

    missing = [name for name in ("python", "numpy", "torch_cpu", "torch_cuda") if name not in states]
    if missing:
        raise StorageError(f"the checkpoint holds no state of the random generators {', '.join(missing)}; delete its folder to start anew")
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(states["torch_cuda"]) != devices:
        raise StorageError(
            f"the checkpoint was made with {len(states['torch_cuda'])} CUDA devices, here are {devices}; "
            "go on where it was made, or delete its folder to start anew"
        )
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(_tensor(states["torch_cpu"]))
    if devices:
        torch.cuda.set_rng_state_all([_tensor(state) for state in states["torch_cuda"]])


def _text(state: "Tensor") -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _tensor(text: str) -> "Tensor":
    import torch

    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
