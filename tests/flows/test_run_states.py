"""How a run stands is told from its events and from its process; what was killed is closed by the next run."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.observing.run_log import read_logs
from components.pipeline.events import EVENTS, RunEvents, read_events
from flows.run_states import end_killed_runs, newest_state, run_state


def alter(folder: Path, **changes: object) -> None:
    """Change fields of a run's last event."""
    lines = (folder / EVENTS).read_text().splitlines()
    lines[-1] = json.dumps({**json.loads(lines[-1]), **changes})
    (folder / EVENTS).write_text("\n".join(lines) + "\n")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return a run whose stage ift is at work."""
    events = RunEvents(tmp_path / "runs" / "20260101-000000-aaaa")
    events.stage("sources", "ran", reason="never ran", seconds=1.0)
    events.stage("ift", "running", reason="never ran")
    return events.folder


def test_a_run_is_at_work_while_its_process_lives_and_killed_when_it_is_gone(begun):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alter(begun, pid=child.pid, time=4e9)
        assert run_state(begun).outcome == "at work"
        alter(begun, time=1.0)  # the process began later than the event: its number was used again
        assert run_state(begun).outcome == "killed"
        alter(begun, time=4e9)
    finally:
        child.kill()
        child.wait()
    state = run_state(begun)
    assert (state.outcome, state.stage, state.is_closed) == ("killed", "ift", False)


def test_a_run_of_another_machine_is_not_judged(begun):
    alter(begun, pid=2**30, host=f"not-{socket.gethostname()}")
    assert run_state(begun).outcome == "at work"


def test_the_next_run_writes_the_end_that_a_killed_one_could_not(begun):
    root = begun.parents[1]
    alter(begun, pid=2**30)
    assert [state.run for state in end_killed_runs(root)] == [begun.name]
    assert end_killed_runs(root) == []
    state = newest_state(root)
    assert (state.outcome, state.is_closed) == ("killed", True) and state.words == f"killed in stage ift: {state.cause}"
    assert "in stage ift" in state.cause and read_events(begun)[-1]["outcome"] == "killed"
    assert [(line["event"], line["level"]) for line in read_logs(begun / "logs")][-1] == ("run killed", "warning")


def test_a_run_that_went_on_under_its_own_id_has_not_ended(begun):
    events = RunEvents(begun)
    events.end("stopped", cause="told to stop")
    events.phase("starting")
    alter(begun, pid=2**30, host=f"not-{socket.gethostname()}")
    assert (run_state(begun).outcome, run_state(begun, elsewhere=True).outcome) == ("at work", "killed")


def test_a_run_that_ended_says_why(begun):
    events = RunEvents(begun)
    events.stage("ift", "failed", reason="bad")
    events.end("failed", cause="bad")
    assert run_state(begun).words == "failed in stage ift: bad"
