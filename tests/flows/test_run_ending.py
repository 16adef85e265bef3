"""The event a run ends with, however it ends."""

import contextlib

import pytest

from components.errors import DataError, Preempted
from components.pipeline.events import RunEvents, last_end, read_events
from flows.run_ending import noted_ending


@pytest.mark.parametrize(
    ("error", "outcome", "cause"),
    [
        (None, "finished", ""),
        (DataError("cases.jsonl:3: no answer"), "failed", "cases.jsonl:3: no answer"),
        (ValueError("a mistake"), "failed", "ValueError: a mistake"),
        (Preempted("told to stop"), "stopped", "told to stop"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
    ],
)
def test_a_run_says_how_it_ended_and_why_and_lets_the_error_through(tmp_path, error, outcome, cause):
    with contextlib.nullcontext() if error is None else pytest.raises(type(error)), noted_ending(RunEvents(tmp_path)):
        if error is not None:
            raise error
    end = last_end(read_events(tmp_path))
    assert (end["outcome"], end["cause"]) == (outcome, cause)
