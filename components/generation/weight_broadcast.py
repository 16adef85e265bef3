"""A model's weights sent to an engine's workers over a process group: for engines that share no disk with the trainer.

The workers are asked first, through the engine's control calls, and the trainer then joins or sends beside that call
(`docs/operations/engines.md`): neither side can be left waiting, since each has a time limit. After a failure the group is
dropped, and the next hand-over makes a new one.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

from components.errors import ServiceError
from components.generation.call_thread import first_line
from components.generation.engine_requests import Engine
from components.generation.weight_folder import engine_tensors
from components.generation.weight_group import backend_of, join_group, open_store, send

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class WeightBroadcast:
    """Hands a model's weights to the workers of one engine."""

    def __init__(self, *, dtype: "torch.dtype", workers: int, address: str, seconds: float) -> None:
        """Args: workers: processes of the engine that hold weights; address: of this machine, as they reach it; seconds: limit of each step."""
        self.dtype, self.size, self.address, self.seconds = dtype, 1 + workers, address, seconds
        self._group: Any = None
        self._store: Any = None

    def hand_over(self, model: "PreTrainedModel", *, version: int, engine: Engine) -> None:
        """Send the weights, cast to the engine's dtype.

        Raises:
            ServiceError: a worker failed or did not answer in time; what the engine holds is then unknown.
        """
        tensors = engine_tensors(model, dtype=self.dtype)
        if self._group is None:
            self._join(engine, next(iter(tensors.values())).device)
        plan = {
            "names": list(tensors), "shapes": [list(tensor.shape) for tensor in tensors.values()],
            "dtype": str(self.dtype).removeprefix("torch."), "seconds": self.seconds,
        }  # fmt: skip
        self._beside(
            lambda: engine.call_workers("receive_weights", plan),
            lambda: send(self._group, tensors, seconds=self.seconds),
            what=f"sending weights version {version}",
        )

    def close(self) -> None:
        """Leave the group."""
        self._group = self._store = None

    def _join(self, engine: Engine, device: "torch.device") -> None:
        self._store = open_store(self.address, size=self.size, seconds=self.seconds)
        shared = {"size": self.size, "backend": backend_of(device), "seconds": self.seconds}
        meeting = {"address": self.address, "port": self._store.port, **shared}
        self._group = self._beside(
            lambda: engine.call_workers("join_weight_group", meeting),
            lambda: join_group(self._store, rank=0, **shared),
            what="joining the engine's workers",
        )

    def _beside(self, theirs: Callable[[], None], ours: Callable[[], Any], *, what: str) -> Any:
        """Do our part in a thread while the engine does its own; return what ours returns."""
        future: Future[Any] = Future()
        Thread(target=_settle, args=(future, ours), name="weights", daemon=True).start()
        try:
            theirs()
            return future.result(timeout=self.seconds)
        except ServiceError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise ServiceError(
                f"vLLM: {what} failed within {self.seconds:g} s ({type(error).__name__}: {first_line(error)}); check that the workers "
                f"reach this machine at {self.address} (vllm.address)"
            ) from error


def _settle(future: "Future[Any]", function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # handed to the caller, whatever it is
        future.set_exception(error)
