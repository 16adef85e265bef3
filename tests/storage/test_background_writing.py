"""Writing in the background: one at a time, waited for, and no failure is lost."""

import threading

import pytest

from components.errors import StorageError
from components.storage.background_writing import BackgroundWriter


def test_the_work_goes_on_while_it_is_written_and_finish_waits():
    gate, written = threading.Event(), []
    writer = BackgroundWriter()
    writer.submit(lambda: (gate.wait(10), written.append(1)))
    assert writer.is_busy and written == []  # submit returned although the write cannot end yet
    gate.set()
    writer.finish()
    assert written == [1] and not writer.is_busy


def test_at_most_one_write_is_in_flight():
    at_once, most, lock = [0], [0], threading.Lock()

    def write():
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.02)
        with lock:
            at_once[0] -= 1

    writer = BackgroundWriter()
    for _ in range(5):
        writer.submit(write)
    writer.finish()
    assert most == [1]


@pytest.mark.parametrize("next_call", ["submit", "finish"])
def test_a_failure_is_raised_once_by_the_next_call(next_call):
    def fail():
        raise StorageError("x: cannot be written")

    writer, written = BackgroundWriter(), []
    writer.submit(fail)
    with pytest.raises(StorageError, match="cannot be written"):
        writer.submit(lambda: written.append(1)) if next_call == "submit" else writer.finish()
    writer.finish()
    assert written == []
