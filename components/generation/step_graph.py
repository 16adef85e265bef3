"""One decoding step recorded as a CUDA graph and replayed: its hundreds of kernels start at once, without the processor.

A graph has fixed shapes and addresses, so the step attends to the first `filled` places of the suffix, those not written
yet masked away, and reads its tokens and its place from tensors. On a processor nothing is recorded: the same step is run
anew each time, which is how the tests reach it; `make bench NAME=gpu_check` compares recorded steps with plain ones.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 128  # places of the suffix a recorded step attends to grow by so many
WARM_UPS = 2  # runs before the recording, in which libraries choose kernels and take their memory

Step = Callable[[Tensor, Tensor, Tensor], Tensor]  # tokens (rows,), place (1,), mask (filled,) → hidden (rows, hidden)


class StepGraph:
    """A step for the rows and caches as they are; made anew when rows are dropped or the suffix outgrows `filled`."""

    def __init__(self, step: Step, tokens_R: Tensor, place: int, *, filled: int, dtype: torch.dtype) -> None:
        """Record the step, running it at `place` with these tokens meanwhile, as the first replay will.

        Args:
            filled: places attended to, above `place`.
            dtype: of the scores that the mask is added to.
        """
        self.filled = filled
        self._step, self._dtype = step, dtype
        self._tokens_R = tokens_R.clone()
        self._place = torch.full((1,), place, dtype=torch.int64, device=tokens_R.device)
        self._columns = torch.arange(filled, device=tokens_R.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        if tokens_R.is_cuda:
            self._record()

    def __call__(self, tokens_R: Tensor, place: int) -> Tensor:
        """Return the hidden states after the tokens, which take suffix position `place`; they hold until the next call."""
        self._tokens_R.copy_(tokens_R)
        self._place.fill_(place)
        if self._graph is None:
            return self._run()
        self._graph.replay()
        return self._hidden_RD

    def _run(self) -> Tensor:
        mask = torch.zeros(self.filled, dtype=self._dtype, device=self._columns.device).masked_fill(self._columns > self._place, -torch.inf)
        return self._step(self._tokens_R, self._place, mask)

    def _record(self) -> None:
        with _unique_writes():
            beside = _warm_up_stream(self._place.device)
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UPS):
                    self._run()
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # another thread may be writing a checkpoint
                self._hidden_RD = self._run()


@functools.cache
def _warm_up_stream(device: torch.device) -> "torch.cuda.Stream":
    """Return one stream a device: cuBLAS keeps a workspace for each it has seen."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _unique_writes() -> Iterator[None]:
    """Take torch's plain kernels for indexed writes: the deterministic ones sort, which cannot be recorded.

    No index stands twice in a step's writes, so the plain ones are deterministic too.
    """
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(0)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def attended(place: int, *, longest: int) -> int:
    """Return how many places a step at `place` attends to: the next full block, `longest` at most."""
    return min(longest, (place // BLOCK + 1) * BLOCK)
