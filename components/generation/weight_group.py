"""A group of processes that weights are broadcast in: the trainer is rank 0, the engine's workers follow.

It stands beside torch's default group, which the trainer and vLLM each use for their own ends: nothing here is global.
gloo carries tensors of the processor, NCCL those of GPUs. Every step ends within `seconds`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup, TCPStore

Backend = Literal["gloo", "nccl"]
TRAINER = 0


def backend_of(device: "torch.device") -> Backend:
    """Return what carries tensors of a device."""
    return "nccl" if device.type == "cuda" else "gloo"


def open_store(address: str, *, size: int, seconds: float) -> "TCPStore":
    """Return a new meeting point at a free port of this machine's `address`; it lasts as long as the object."""
    from torch.distributed import TCPStore

    return TCPStore(address, 0, size, is_master=True, timeout=timedelta(seconds=seconds), wait_for_workers=False)


def join_store(address: str, *, port: int, size: int, seconds: float) -> "TCPStore":
    """Return the meeting point that the trainer opened."""
    from torch.distributed import TCPStore

    return TCPStore(address, port, size, is_master=False, timeout=timedelta(seconds=seconds))


def join_group(store: "TCPStore", *, rank: int, size: int, backend: Backend, seconds: float) -> "ProcessGroup":
    """Return this process's part of the group; with gloo, once all have joined.

    Raises:
        RuntimeError: not all joined in time.
    """
    from torch import distributed

    limit = timedelta(seconds=seconds)
    if backend == "nccl":
        options = distributed.ProcessGroupNCCL.Options()
        options._timeout = limit
        return distributed.ProcessGroupNCCL(store, rank, size, options)
    options = distributed.ProcessGroupGloo._Options()
    options._devices = [distributed.ProcessGroupGloo.create_device(hostname=store.host)]
    options._timeout = limit
    return distributed.ProcessGroupGloo(store, rank, size, options)


def send(group: "ProcessGroup", tensors: Mapping[str, "torch.Tensor"], *, seconds: float) -> None:
    """Broadcast tensors in their order, from the trainer."""
    for tensor in tensors.values():
        group.broadcast(tensor, TRAINER).wait(timedelta(seconds=seconds))


def receive(
    group: "ProcessGroup", names: Sequence[str], shapes: Sequence[Sequence[int]], *, dtype: str, device: "torch.device", seconds: float
) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Yield what the trainer sends, each tensor in memory of its own: a loader may keep several until a layer is whole."""
    import torch

    for name, shape in zip(names, shapes, strict=True):
        tensor = torch.empty(list(shape), dtype=getattr(torch, dtype), device=device)
        group.broadcast(tensor, TRAINER).wait(timedelta(seconds=seconds))
        yield name, tensor
