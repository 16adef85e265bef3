"""The processes of a run as one value: which rank this is, and the few exchanges the loops need.

Losses are normalised by the totals of the whole optimiser step, so what the ranks hold adds up: gradients and sums are
summed, never averaged. Rows travel as JSON, not as pickles. A single process is the same value with size 1, for which
every exchange returns what it was given, unchanged. Numbers and rows pass through the processor (gloo) on any machine;
gradients by NCCL where they lie on GPUs.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from components.errors import SettingsError

BUCKET_ELEMENTS = 1 << 24  # numbers summed in one exchange: 64 MiB in float32
TIMEOUT_MINUTES = 30  # a rank that waits longer for the others ends with an error


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; rank 0 records and writes."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Say whether this rank is the one that records and writes."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums of the ranks' values, added in float64; the same on every rank."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def largest(self, values: Sequence[float]) -> list[float]:
        """Return the largest of the ranks' values, place by place."""
        return self._reduced(values, distributed.ReduceOp.MAX)

    def from_main(self, value: float) -> float:
        """Return rank 0's value on every rank, so that what is decided by it is decided alike."""
        return self.total([value if self.is_main else 0.0])[0]

    def gather(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Return every rank's JSON rows, by rank; numbers come back exactly."""
        if self.size == 1:
            return [list(rows)]
        content = torch.frombuffer(bytearray(json.dumps(list(rows)).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(lengths, torch.tensor([content.numel()]))
        padded = content.new_zeros(max(int(length) for length in lengths))
        padded[: content.numel()] = content
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded)
        return [json.loads(part[: int(length)].numpy().tobytes()) for part, length in zip(parts, lengths, strict=True)]

    def sum_in_place(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their sums over the ranks, many in one exchange."""
        for bucket in [] if self.size == 1 else _buckets(tensors):
            joined = torch.cat([tensor.flatten() for tensor in bucket])
            distributed.all_reduce(joined)
            for tensor, part in zip(bucket, joined.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def take_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by rank 0's."""
        for tensor in [] if self.size == 1 else tensors:
            distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.size > 1:
            distributed.barrier()

    def _reduced(self, values: Sequence[float], operation: distributed.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(list(values), dtype=torch.float64)
        distributed.all_reduce(numbers, op=operation)
        return numbers.tolist()


SINGLE = Ranks()


def join_ranks() -> Ranks:
    """Join the processes that torchrun started, by NCCL where there are GPUs and gloo elsewhere; a second call only looks.

    Raises:
        SettingsError: not started by torchrun.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise SettingsError(
            "engine.strategy: several processes were asked for and this one stands alone; start it as "
            "`torchrun --nproc-per-node 2 --no-python .venv/bin/quarkmed stage NAME` (or `train RECIPE`), or set engine.strategy: single"
        )
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(minutes=TIMEOUT_MINUTES))
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def leave_ranks() -> None:
    """Leave the processes that were joined, if any were."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _buckets(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    filled = 0
    for tensor in tensors:
        if not buckets or filled + tensor.numel() > BUCKET_ELEMENTS or tensor.dtype != buckets[-1][0].dtype:
            buckets.append([])
            filled = 0
        buckets[-1].append(tensor)
        filled += tensor.numel()
    return buckets
