"""The floors of a loop's steps (components/sizing/floors.py), and the seconds a loop spends beside its steps.

Every metric made here begins with `seconds_`, as all timings do: they are the only metrics in which two runs of the same
work differ. The device is measured where the first floor is asked for, once a process; this draws no random number and
changes no setting.
"""

import contextlib
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from components.modeling.precision import products_in
from components.recorder import TIMING
from components.settings.training import Precision
from components.sizing.floors import ADAPTED, TRAINED, Tree, forward_flops, generate_floor
from components.sizing.machine import DeviceSpeed, device_speed
from components.sizing.shape import config_shape

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class StepFloors:
    """Floors of the steps of one model, on its device and in the number type that it multiplies in."""

    def __init__(self, model: "PreTrainedModel", *, precision: Precision, is_adapted: bool = False, ranks: int = 1) -> None:
        """Args: is_adapted: low-rank adapters alone are trained; ranks: processes, each as fast as this one, that share a step."""
        self.shape = config_shape(model.config.to_dict(), source="the model's config")
        self.products = products_in(precision)
        self.dtype = str(self.products.multiplied).removeprefix("torch.")
        self.device = str(model.device)
        self.passes = ADAPTED if is_adapted else TRAINED
        self.ranks = ranks

    @property
    def speed(self) -> DeviceSpeed:
        """Operations and bytes a second of all ranks."""
        found = device_speed(self.dtype, self.device)
        return DeviceSpeed(found.flops * self.ranks, found.bandwidth * self.ranks)

    def update(self, trees: Sequence[Tree], *, headed: float, read: float | None = None, has_reference: bool = False) -> float:
        """Return the seconds of one pass forward and back over a step's tokens, and of the reference's forward where there is one.

        Args:
            headed: tokens whose logits are computed; read: whose final states are used, None: theirs.
        """
        return (self.passes + has_reference) * self.forward(trees, headed=headed, read=read)

    def forward(self, trees: Sequence[Tree], *, headed: float, read: float | None = None) -> float:
        """Return the seconds of one forward pass."""
        return forward_flops(self.shape, trees, headed=headed, read=read) / self.speed.flops

    def generate(self, trees: Sequence[Tree]) -> float:
        """Return the seconds of one rollout; see `generate_floor`."""
        return generate_floor(self.shape, trees, speed=self.speed, weight_bytes=self.products.multiplied.itemsize, cached_bytes=self.products.dtype.itemsize)


def settled_clock(device: "torch.device") -> float:
    """Return `perf_counter()` once the device has done what it was asked: a GPU works on while its asker reads the clock."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return perf_counter()


class Stopwatch:
    """Adds up seconds by name until they are taken into the record of a step.

    `names` are in every record, 0 where nothing was counted: a run that was killed has the same metrics at the same steps.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self._seconds: dict[str, float] = dict.fromkeys(names, 0.0)

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Count the block's seconds under a name, even where it raises."""
        started = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + perf_counter() - started

    def take(self) -> dict[str, float]:
        """Return `seconds_<name>` of everything counted since the last call."""
        taken = {f"{TIMING}{name}": value for name, value in self._seconds.items()}
        self._seconds = dict.fromkeys(self.names, 0.0)
        return taken
