"""A process's log: one JSON line an event with where it happened, none without a file named, no words of libraries."""

import json
import logging
from pathlib import Path

import pytest

from components.observing import run_log
from components.observing.run_log import RunLog, log_environment, open_process_log, read_logs


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Yield an opener of this process's log; handlers and log are as before afterwards."""
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    monkeypatch.setattr(run_log, "_opened", None)
    yield lambda **more: open_process_log({**log_environment(tmp_path / "runs" / "r1" / "logs" / "stages.log"), **more})
    root.handlers[:] = before


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_how_grave_and_where_in_the_run(tmp_path):
    log = RunLog(tmp_path / "logs" / "stages.jsonl", run="r1", rank=1, now=lambda: 1.5)
    with log.at_stage("ift"):
        log.step = 7
        log.write("progress", done=7, total=9)
    log.write("idle", level="warning")
    first, second = lines(log.path)
    assert first.pop("pid") > 0
    assert first == {
        "time": "1970-01-01T00:00:01.500Z", "level": "info", "run": "r1", "process": "stages", "stage": "ift", "step": 7, "rank": 1, "event": "progress", "done": 7, "total": 9,
    }  # fmt: skip
    assert (second["stage"], second["step"], second["level"]) == (None, None, "warning")


def test_a_process_finds_its_file_by_the_environment_and_each_further_rank_has_its_own(tmp_path, opened):
    folder = tmp_path / "runs" / "r1" / "logs"
    assert open_process_log({}) is None
    opened().write("here")
    opened(WORLD_SIZE="2", RANK="0").write("first")
    opened(WORLD_SIZE="2", RANK="1").write("there")
    assert {(line["event"], line["run"], line["process"], line["rank"]) for line in read_logs(folder)} == {
        ("here", "r1", "stages", None), ("first", "r1", "stages", 0), ("there", "r1", "stages-rank-1", 1),
    }  # fmt: skip


def test_of_a_librarys_warning_only_who_where_and_how_grave_is_kept(tmp_path, opened, capsys):
    log = opened()
    try:
        raise ValueError("Maria Gonzalez, 555-0100")
    except ValueError:
        logging.getLogger("some.library").exception("cannot read %s", "Maria Gonzalez")
    logging.getLogger("some.library").info("nothing to see")
    (line,) = lines(log.path)
    assert (line["event"], line["level"], line["logger"], line["error"]) == ("library", "error", "some.library", "ValueError")
    assert line["where"].startswith("test_run_log.py:") and "Gonzalez" not in log.path.read_text()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    RunLog(tmp_path / "logs" / "x.jsonl", run="r").write("lost")


def test_lines_of_all_processes_stand_in_the_order_of_their_times_and_a_torn_one_is_left_out(tmp_path):
    for name, seconds in (("a", 2.0), ("b", 1.0), ("a", 3.0)):
        RunLog(tmp_path / f"{name}.jsonl", run="r", now=lambda seconds=seconds: seconds).write(name)
    with (tmp_path / "a.jsonl").open("a") as stream:
        stream.write('{"time": "2')
    assert [line["event"] for line in read_logs(tmp_path)] == ["b", "a", "a"]
