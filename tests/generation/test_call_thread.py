"""A call with a time limit never holds its caller longer, and every failure has one kind of error."""

import threading
from time import monotonic

import pytest

from components.errors import DataError, ServiceError
from components.generation.call_thread import CallThread


def test_calls_run_in_one_thread_and_return_their_values():
    thread = CallThread("engine")
    names = [thread.call(lambda: threading.current_thread().name, seconds=5, what="asking") for _ in range(2)]
    assert names == ["engine", "engine"]
    assert not thread.is_busy


def test_a_late_call_is_given_up_and_no_other_is_tried():
    thread, release = CallThread("engine"), threading.Event()
    start = monotonic()
    with pytest.raises(ServiceError, match=r"sampling 3 prompts took more than 0\.1 s"):
        thread.call(release.wait, seconds=0.1, what="sampling 3 prompts")
    assert monotonic() - start < 5
    assert thread.is_lost and thread.is_busy
    with pytest.raises(ServiceError, match="was not tried"):
        thread.call(lambda: 1, seconds=5, what="sampling")
    release.set()


def test_a_foreign_error_becomes_ours_without_what_follows_its_first_line():
    def fails():
        raise RuntimeError("worker died\nprompt was 5, 6, 7")

    with pytest.raises(ServiceError, match=r"failed \(RuntimeError: worker died\)") as caught:
        CallThread("engine").call(fails, seconds=5, what="sampling")
    assert "prompt was" not in str(caught.value)


def test_an_error_of_ours_passes_unchanged():
    def fails():
        raise DataError("line 3")

    with pytest.raises(DataError, match="line 3"):
        CallThread("engine").call(fails, seconds=5, what="sampling")


def test_a_time_limit_inside_the_call_does_not_lose_the_thread():
    def fails():
        raise TimeoutError

    thread = CallThread("engine")
    with pytest.raises(ServiceError, match=r"replacing weights failed \(TimeoutError"):
        thread.call(fails, seconds=5, what="replacing weights")
    assert thread.call(lambda: 1, seconds=5, what="sampling") == 1


def test_a_watch_ends_the_wait_for_a_call_that_can_no_longer_come_back():
    def has_died():
        raise ServiceError("the engine has ended")

    thread, release = CallThread("engine"), threading.Event()
    start = monotonic()
    with pytest.raises(ServiceError, match="the engine has ended"):
        thread.call(release.wait, seconds=60, what="sampling", watch=has_died)
    assert monotonic() - start < 10 and thread.is_lost
    release.set()
