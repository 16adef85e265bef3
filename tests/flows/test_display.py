"""What a person sees: rendered from events and records alone."""

import io
import time
from pathlib import Path

from rich.console import Console

from components.pipeline.events import RunEvents, read_events
from components.pipeline.live_progress import last_progress
from components.pipeline.plan import PlannedStage
from components.recorder import Recorder
from flows.display import LiveDisplay, render_run, time_left_text
from flows.end_report import claim_text
from flows.run_folder import point_latest, workspace_lock
from flows.summary import write_summary

PLAN = [PlannedStage("sources", "run", ("never ran",), 4.0), PlannedStage("ift", "run", ("never ran",), 60.0), PlannedStage("sft", "skip", (), 30.0)]


def text_of(renderable) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


def test_the_picture_shows_every_stage_the_bar_with_its_loss_and_the_time_left(tmp_path):
    events, recorder = RunEvents(tmp_path / "run"), Recorder(tmp_path / "work")
    events.plan(PLAN)
    events.stage("sources", "ran", reason="never ran", seconds=4.2)
    events.stage("ift", "running", reason="never ran", folder=str(tmp_path / "work"))
    recorder.progress(50, 150, loss=1.234)
    seen = read_events(tmp_path / "run")
    picture = text_of(render_run(seen, now=seen[-1]["time"] + 20))
    lines = [line.split() for line in picture.splitlines() if line.strip()]
    assert lines[0][:4] == ["sources", "ran", "4", "s"]
    assert lines[1][:4] == ["ift", "running", "20", "s"]
    # 20 s for 50 of 150 steps: 40 s for the other 100. All that is left: 60 s of ift last time less 20 s.
    assert "50/150" in picture and "loss 1.234" in picture and "40 s left" in picture
    assert lines[2][:2] == ["sft", "waiting"] and "about 40 s left" in picture


def test_on_a_terminal_the_picture_is_drawn_again_as_events_come(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.display.PICTURE_SECONDS", 0.02)
    events, out = RunEvents(tmp_path), io.StringIO()
    with LiveDisplay(tmp_path, console=Console(file=out, force_terminal=True, width=100)):
        events.plan(PLAN)
        events.stage("ift", "running", reason="never ran")
        deadline = time.monotonic() + 10
        while "running" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
        events.stage("ift", "failed", reason="a bad word")
        while "a bad word" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "running" in out.getvalue() and "a bad word" in out.getvalue()


def test_time_left_is_not_guessed_where_a_stage_never_ran():
    planned = [{"name": "ift", "action": "run", "last_seconds": None}]
    assert time_left_text(planned, {}, None, now=0.0) == ""


def test_progress_is_read_from_the_end_of_a_long_record(tmp_path):
    recorder = Recorder(tmp_path)
    for step in range(2000):
        recorder.metrics({"loss": 1.0}, step=step)
    recorder.progress(7, 7, loss=0.5)
    with recorder.path.open("a") as stream:
        stream.write('{"kind": "progress", "torn')
    assert last_progress(tmp_path)["done"] == 7
    assert last_progress(tmp_path / "nothing") is None


def test_the_summary_counts_own_work_and_overhead(tmp_path):
    folder = tmp_path / "runs" / "r1"
    events = RunEvents(folder)
    events.stage("sources", "running", reason="never ran")
    events.stage("sources", "ran", reason="never ran", seconds=4.0)
    events.stage("ift", "skipped", reason="nothing changed")
    events.decision({"model": "quarkmed", "version": "3", "alias": "champion", "decision": "promoted", "reasons": ["a"], "decided_in": "r1"})
    told = write_summary(tmp_path, folder, git_sha=None, profile="laptop", wall_seconds=10.0, data={})
    assert (told["wall_seconds"], told["overhead_seconds"]) == (10.0, 6.0)
    assert [(stage["name"], stage["status"]) for stage in told["stages"]] == [("sources", "ran"), ("ift", "skipped")]
    assert told["registry"]["version"] == "3" and told["metrics"] == {}


def test_a_claim_reads_as_one_line():
    claim = {"suite": "verified", "before": 0.41, "after": 0.55, "difference": 0.14, "low": -0.01, "high": 0.29, "word": "not shown"}
    assert claim_text(claim) == "verified 0.410 → 0.550, +0.140 [-0.010, +0.290] not shown"


def test_latest_leads_to_the_last_run(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    point_latest(tmp_path, "a")
    point_latest(tmp_path, "b")
    assert Path(tmp_path / "runs" / "latest").readlink() == Path("b")


def test_a_lock_of_a_dead_process_does_not_hold(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "retrain.lock").write_text("999999")
    with workspace_lock(tmp_path):
        pass
