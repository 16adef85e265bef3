"""`quarkmed logs`: the lines of all processes of a run in order, narrowed down, and followed to the run's end."""

import io
import json
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from components.errors import UserError
from components.observing.run_log import RunLog
from components.pipeline.events import RunEvents
from flows.logs_command import logs, named_run

OLD, NEW = "20260101-000000-aaaa", "20260102-000000-bbbb"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two runs; the newer one's stage process wrote two lines before the flow wrote its own."""
    RunEvents(tmp_path / "runs" / OLD).end("finished")
    log = RunLog(tmp_path / "runs" / NEW / "logs" / "stages.jsonl", run=NEW, now=lambda: 10.0)
    with log.at_stage("ift"):
        log.step = 3
        log.write("progress", done=3, total=4)
        log.write("note", level="warning", text="2 rows were left out")
    events = RunEvents(tmp_path / "runs" / NEW)
    events.stage("sources", "failed", reason="data/notes.txt:1: a bad word")
    return tmp_path


def printed(project: Path, run: str | None = None, *, stage: str | None = None, level: str = "info") -> list[str]:
    out = io.StringIO()
    logs(project, run, stage=stage, level=level, follows=False, as_json=False, console=Console(file=out, width=160))
    return [line.split(" ", 1)[1] for line in out.getvalue().splitlines()]  # without the time


def test_the_newest_runs_lines_are_printed_with_stage_and_step(project):
    assert printed(project) == [
        "info    stages   ift:3 progress  done=3 total=4", "warning stages   ift:3 note  2 rows were left out",
        "error   flow     sources stage failed  data/notes.txt:1: a bad word seconds=0",
    ]  # fmt: skip


def test_a_recipes_run_is_named_by_its_output_folder_and_followed_until_it_has_ended(project, capsys):
    output = project / "tuned"
    with (log := RunLog(output / "logs" / "train.jsonl", run="tuned", now=lambda: 10.0)).at_stage("policy"):
        log.write("stage began")
    assert printed(project, str(output)) == ["info    train    policy stage began"]
    (output / "finished.json").write_text("{}")
    logs(project, str(output), stage=None, level="info", follows=True, as_json=True, console=Console())
    assert json.loads(capsys.readouterr().out)["run"] == "tuned"


def test_they_are_narrowed_down_by_level_stage_and_run(project):
    assert len(printed(project, level="warning")) == 2
    assert printed(project, level="error")[0].startswith("error   flow")
    assert len(printed(project, stage="ift")) == 2
    assert printed(project, "20260101") == ["info    flow     run finished"]


def test_a_run_that_is_none_or_several_is_said(project):
    for asked in ("2026010", "1999"):
        with pytest.raises(UserError, match="name one, or none for the newest"):
            named_run(project, asked)
    with pytest.raises(UserError, match="--level: 'loud' is none; info, warning, error"):
        printed(project, level="loud")
    with pytest.raises(UserError, match="no run yet"):
        named_run(project / "nowhere", None)


def test_followed_each_line_comes_once_until_the_run_ends(project, capsys, monkeypatch):
    monkeypatch.setattr("flows.logs_command.PERIOD_SECONDS", 0.02)
    follower = threading.Thread(
        target=lambda: logs(project, None, stage=None, level="info", follows=True, as_json=True, console=Console()), daemon=True
    )
    follower.start()
    time.sleep(0.1)
    RunEvents(project / "runs" / NEW).end("failed", cause="a bad word")
    follower.join(timeout=10)
    assert not follower.is_alive()
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["progress", "note", "stage failed", "run failed"]
