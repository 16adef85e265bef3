"""A run's events as lines of its log in the Prefect page."""

import logging

import pytest

from components.pipeline.events import RunEvents
from tasks.page_log import page_line, show_in_page


@pytest.mark.parametrize(("entry", "expected"), [
    ({"kind": "stage", "name": "ift", "status": "running", "reason": "never ran", "seconds": 0.0}, (logging.INFO, "ift: running: never ran")),
    ({"kind": "stage", "name": "ift", "status": "ran", "reason": "never ran", "seconds": 41.6}, (logging.INFO, "ift: ran, 42 s")),
    ({"kind": "stage", "name": "ift", "status": "failed", "reason": "the loss is no number", "seconds": 3.0}, (logging.ERROR, "ift: failed, 3 s: the loss is no number")),
    ({"kind": "plan", "stages": [{"action": "run"}, {"action": "skip"}, {"action": "run"}]}, (logging.INFO, "plan: 2 run, 0 maybe, 1 skip")),
    ({"kind": "decision", "decision": "promoted", "version": 3}, (logging.INFO, "version 3: promoted")),
    ({"kind": "phase", "text": "registering the model"}, (logging.INFO, "registering the model")),
    ({"kind": "end", "outcome": "stopped", "cause": "told to stop"}, (logging.WARNING, "run stopped: told to stop")),
])  # fmt: skip
def test_each_event_is_one_line(entry, expected):
    assert page_line(entry) == expected


def test_outside_of_a_flow_run_events_go_to_the_runs_folder_alone(tmp_path):
    events = RunEvents(tmp_path / "run")
    show_in_page(events)
    events.note("a note")
    assert "a note" in events.path.read_text()


def test_who_listens_hears_every_event_that_is_noted_from_then_on(tmp_path):
    events, heard = RunEvents(tmp_path / "run"), []
    events.phase("before")
    events.listen(heard.append)
    events.stage("ift", "running", reason="never ran")
    events.note("a note")
    assert [page_line(entry)[1] for entry in heard] == ["ift: running: never ran", "a note"]
