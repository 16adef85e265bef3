"""One stage to its end: attempts on a backend, one after another, each kind of end acted on as `components/launch/ends.py` says.

Retries have this one owner: the cluster retries nothing (`backoffLimit: 0`), Prefect retries nothing. The counts are of one
run; a run that is started again begins them anew.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from components.launch.ends import Attempt, Ending, StageBackend
from components.pipeline.running import StageRun
from components.settings.launching import RetrySettings

SMALLER = 2  # what micro_tokens is divided by after an exhausted memory


def run_attempts(
    backend: StageBackend,
    first: Attempt,
    *,
    retry: RetrySettings,
    may_start: Callable[[], None],
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> StageRun:
    """Run a stage until it is done, or until its kind of end is not to be tried again.

    Args:
        may_start: called before each attempt; raises where none may start (a budget).
        tell: takes a sentence for the run's notes, one each time a stage is tried again.
    Raises:
        QuarkmedError: of the class of the last end.
    """
    attempt, counts = first, Counter[str]()
    while True:
        may_start()
        ending = backend.run(attempt)
        if ending.kind == "done":
            assert ending.run is not None
            return ending.run
        counts[ending.kind] += 1
        following = _after(ending, counts[ending.kind], retry)
        if following is None:
            raise ending.as_error()
        wait = wait_seconds(counts[ending.kind], retry) if ending.kind == "infrastructure" else 0.0
        tell(f"{ending.attempt.stage}: attempt {ending.attempt.number} ended ({ending.kind}: {ending.message}); {_what_next(following, wait)}")
        sleep(wait)
        attempt = following


def wait_seconds(count: int, retry: RetrySettings) -> float:
    """Return what to wait after the count-th failure of the infrastructure, from 1: first_wait_seconds · 2^(count - 1), bounded."""
    return min(retry.longest_wait_seconds, retry.first_wait_seconds * 2.0 ** min(count - 1, 30))


def _after(ending: Ending, count: int, retry: RetrySettings) -> Attempt | None:
    """Return the attempt that follows the count-th end of this kind, or None where none does."""
    following = replace(ending.attempt, number=ending.attempt.number + 1)
    if ending.kind == "preempted" and count <= retry.preemptions:
        return following
    if ending.kind == "infrastructure" and count <= retry.infrastructure:
        return following
    if ending.kind == "out of memory" and ending.attempt.micro_divisor == 1:
        return replace(following, micro_divisor=SMALLER)
    return None


def _what_next(following: Attempt, wait: float) -> str:
    smaller = f" with micro_tokens / {following.micro_divisor}" if following.micro_divisor > 1 else ""
    return f"attempt {following.number}{smaller} goes on from the last checkpoint{f' in {wait:g} s' if wait else ''}"
