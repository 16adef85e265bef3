"""Being told to stop (SIGTERM before a machine is taken away, Ctrl-C): the step at work is finished, the state is saved,
and the process ends with exit code 43 and one line.

A process entry opens `stop_signals`; a training loop runs inside `orderly_steps` and calls `stop_here_if_asked` after
each step. Where no loop runs, or the step outlasts the grace, or a second signal comes, the work stops where it is and
is done again from its last checkpoint.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from components.errors import Preempted
from components.storage.checkpoints import CheckpointFolder

if TYPE_CHECKING:
    from components.training.engines.ranks import Ranks

GO_ON = "run the same command again to go on"


class StopRequest:
    """Whether this process was told to stop; `grace_seconds` is what a step and its checkpoint may take from then on."""

    def __init__(self, *, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.is_asked = False
        self.loops = 0  # at work, one inside another

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: leave a running loop its grace, else stop at once.

        Raises:
            Preempted: no loop is at work, or this is the second signal.
        """
        if self.is_asked or not self.loops:
            self.is_asked = True
            raise Preempted(f"told to stop; what was saved last is kept: {GO_ON}")
        self.is_asked = True
        signal.setitimer(signal.ITIMER_REAL, self.grace_seconds)

    def expire(self, number: int, frame: FrameType | None) -> None:
        """End the grace.

        Raises:
            Preempted: always.
        """
        raise Preempted(f"told to stop, and the step at work took more than the grace of {self.grace_seconds:g} s; what was saved last is kept: {GO_ON}")


_request: StopRequest | None = None  # of the one `stop_signals` block this process is in


@contextlib.contextmanager
def stop_signals(*numbers: int, grace_seconds: float) -> Iterator[StopRequest]:
    """Hear the signals (SIGTERM where none is named) as long as the block lasts; main thread only.

    Yields:
        The request, which says whether one was heard.
    """
    global _request
    heard = numbers or (signal.SIGTERM,)
    before, request = _request, StopRequest(grace_seconds=grace_seconds)
    handlers = {number: signal.signal(number, request.hear) for number in heard}
    alarm = signal.signal(signal.SIGALRM, request.expire)
    _request = request
    try:
        yield request
    finally:
        _request = before
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in {**handlers, signal.SIGALRM: alarm}.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def orderly_steps(checkpoints: CheckpointFolder | None) -> Iterator[None]:
    """Let signals wait for the step at work, and leave no checkpoint half written however the block ends.

    Raises:
        StorageError: a checkpoint cannot be written.
    """
    request = _request
    if request:
        request.loops += 1
    try:
        with checkpoints or contextlib.nullcontext():
            yield
    finally:
        if request:
            request.loops -= 1


def stop_here_if_asked(
    save: Callable[[], None], *, checkpoints: CheckpointFolder | None, done: int, total: int, ranks: "Ranks | None" = None
) -> None:
    """Where a stop was asked for, of any rank, and steps are left: save, wait until it is written, and stop.

    Raises:
        Preempted: after saving.
        StorageError: the checkpoint cannot be written.
    """
    is_asked = _request is not None and _request.is_asked
    if ranks is not None and ranks.size > 1:
        is_asked = ranks.largest([float(is_asked)])[0] > 0
    if not is_asked or done >= total:
        return
    save()
    if checkpoints is not None:
        checkpoints.finish()
    signal.setitimer(signal.ITIMER_REAL, 0)
    kept = f"saved after step {done} of {total}" if checkpoints is not None else f"left after step {done} of {total}, which this run does not save"
    raise Preempted(f"told to stop: {kept}; {GO_ON}")
