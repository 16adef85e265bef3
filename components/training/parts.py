"""Tensors that lie in parts on the ranks (torch's DTensor), made whole and cut again; plain tensors pass as they are."""

from torch import Tensor


def is_in_parts(value: Tensor) -> bool:
    """Say whether this rank holds a part of the tensor only."""
    return hasattr(value, "full_tensor")


def whole_tensor(value: Tensor) -> Tensor:
    """Return the tensor whole; every rank must ask for it."""
    return value.full_tensor() if is_in_parts(value) else value  # type: ignore[attr-defined]


def in_parts_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, the same on all ranks, laid out as another of its shape; nothing is exchanged."""
    if not is_in_parts(like):
        return value
    from torch.distributed.tensor import DTensor, Replicate

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return DTensor.from_local(value, mesh, [Replicate()] * mesh.ndim, run_check=False).redistribute(placements=placements)
