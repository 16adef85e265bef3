"""One thing written at a time beside the work that goes on: a thread a write, its failure raised at the next one.

The caller hands over a function that touches nothing the caller still changes. The thread is no daemon: a process that
ends by itself ends only when the write has.
"""

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs one write in a thread; `submit` and `finish` first wait for the one in flight."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a write is in flight."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, write: Callable[[], None]) -> None:
        """Begin a write once the one before has ended.

        Raises:
            StorageError, or whatever the write before raised: that write is lost, this one is not begun.
        """
        self.finish()
        self._thread = threading.Thread(target=self._run, args=(write,), name="background-writer")
        self._thread.start()

    def finish(self) -> None:
        """Wait until nothing is in flight.

        Raises:
            StorageError, or whatever the write raised; once, so that a second call succeeds.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._failure = error
