"""Calls with a time limit: they run one after another in a thread of their own, and the caller never waits longer."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from time import monotonic
from typing import Any, TypeVar

from components.errors import QuarkmedError, ServiceError

Value = TypeVar("Value")
WATCH_SECONDS = 1.0


class CallThread:
    """Runs blocking calls of one library in one thread; after a call that came too late it takes no more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._last: Future[Any] | None = None
        self._calls: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue()
        self.is_lost = False  # a call never came back
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a call has not come back yet."""
        return self._last is not None and not self._last.done()

    def call(
        self, function: Callable[[], Value], *, seconds: float, what: str, watch: Callable[[], None] = lambda: None
    ) -> Value:
        """Run `function` and return its value.

        Args:
            what: names the call in an error, as in "sampling 64 prompts".
            watch: called now and then while it runs; what it raises ends the wait.
        Raises:
            ServiceError: it raised something that is no error of ours, took longer than `seconds`, or an earlier call
                never came back.
        """
        if self.is_lost:
            raise ServiceError(f"{self.name}: {what} was not tried: an earlier call never came back; start the run again")
        future: Future[Value] = Future()
        self._last = future
        self._calls.put((future, function))
        try:
            self._wait(future, seconds, watch)
        except BaseException:
            self.is_lost = True
            raise
        if not future.done():
            self.is_lost = True
            raise ServiceError(
                f"{self.name}: {what} took more than {seconds:g} s; raise the time limit (vllm.call_seconds, vllm.start_seconds) if the "
                "work is that large, else look for what holds it up"
            )
        try:
            return future.result()
        except QuarkmedError:
            raise
        except Exception as error:
            raise ServiceError(f"{self.name}: {what} failed ({type(error).__name__}: {first_line(error)}); see its log above") from error

    @staticmethod
    def _wait(future: "Future[Any]", seconds: float, watch: Callable[[], None]) -> None:
        end = monotonic() + seconds
        while not future.done() and (left := end - monotonic()) > 0:
            wait([future], timeout=min(left, WATCH_SECONDS))
            if not future.done():
                watch()

    def _work(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:  # handed to the caller, whatever it is
                future.set_exception(error)


def first_line(error: BaseException, *, limit: int = 200) -> str:
    """Return the first line of an error's text, cut: the rest may quote what was asked."""
    return (str(error).strip().splitlines() or [""])[0][:limit]
