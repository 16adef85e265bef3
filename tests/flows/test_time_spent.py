"""Where the time went: sums of what stages recorded, as a table."""

import io
import json

from rich.console import Console

from components.pipeline.events import RunEvents
from components.recorder import Recorder
from flows.summary import write_summary
from flows.time_spent import print_time_spent, recorded_seconds


def printed(told):
    out = io.StringIO()
    print_time_spent(Console(file=out, width=160), told["stages"], wall_seconds=told["wall_seconds"], overhead_seconds=told["overhead_seconds"])
    return out.getvalue()


def test_the_timings_of_a_record_add_up_over_steps_and_models_and_nothing_else_does(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.metrics({"loss": 9.0, "seconds_update/honesty": 1.0}, step=0)
    recorder.metrics({"seconds_update/helpfulness": 2.0, "seconds_checkpoint/helpfulness": 0.5}, step=0)
    recorder.summary({"seconds_update": 100.0})
    assert recorded_seconds(tmp_path) == {"update": 3.0, "checkpoint": 0.5}
    assert recorded_seconds(tmp_path / "nothing") == {}


def test_the_table_says_what_each_stage_spent_its_seconds_on(tmp_path):
    events, recorder = RunEvents(tmp_path / "run"), Recorder(tmp_path / "work")
    for step in range(2):
        recorder.metrics(
            {"seconds_generate": 2.0, "seconds_floor_generate": 0.5, "seconds_policy": 3.0, "seconds_optimiser": 0.5, "seconds_floor_update": 1.0}, step=step
        )
    events.stage("sources", "ran", reason="never ran", seconds=5.0, folder=str(tmp_path / "none"))
    events.stage("prompts", "skipped", reason="nothing changed", folder=str(tmp_path / "work"))
    events.stage("grpo", "ran", reason="never ran", seconds=15.0, folder=str(tmp_path / "work"))
    told = write_summary(tmp_path, tmp_path / "run", git_sha=None, profile="laptop", wall_seconds=25.0, data={})
    assert [stage["parts"] for stage in told["stages"][:2]] == [{}, {}]
    rows = [line.split() for line in printed(told).splitlines()]
    assert ["stage", "all", "share", "generate", "floor", "update", "floor", "other"] in rows
    # 15 s of 25: 4 of generating, 7 of updating, 4 that nothing names
    assert ["grpo", "15.0", "60%", "4.0", "1.0", "7.0", "2.0", "4.0"] in rows
    assert ["sources", "5.0", "20%"] in rows and ["around", "them", "5.0", "20%"] in rows
    assert not any(row[:1] == ["prompts"] for row in rows)


def test_a_run_that_did_nothing_prints_no_table(tmp_path):
    RunEvents(tmp_path).stage("sources", "skipped", reason="nothing changed")
    assert printed(write_summary(tmp_path, tmp_path, git_sha=None, profile="laptop", wall_seconds=1.0, data={})) == ""


def test_the_table_and_the_summary_say_what_stages_used(tmp_path):
    events = RunEvents(tmp_path / "run")
    for name, peak, cpu in (("sources", 100, 2.0), ("grpo", 300, 40.0)):
        work = tmp_path / name
        Recorder(work).summary({"n": 1.0})
        sample = {"time": 1.0, "attempt": "a", "cpu_seconds": cpu, "peak_bytes": peak << 20, "joules": 7200.0 if name == "grpo" else None, "gpus": []}
        (work / "usage.jsonl").write_text(json.dumps(sample) + "\n")
        events.stage(name, "ran", reason="never ran", seconds=10.0, folder=str(work))
    told = write_summary(tmp_path, tmp_path / "run", git_sha=None, profile="laptop", wall_seconds=20.0, data={})
    assert told["used"] == {"cpu_seconds": 42.0, "peak_bytes": 300 << 20, "gpu_peak_bytes": None, "watt_hours": 2.0}
    assert told["stages"][0]["used"] == {"cpu_seconds": 2.0, "peak_bytes": 100 << 20, "gpu_peak_bytes": None, "watt_hours": None}
    rows = [line.split() for line in printed(told).splitlines()]
    assert rows[1][3:] == ["cpu", "s", "peak", "MiB", "Wh"] and "GPU" not in rows[1]
    assert ["grpo", "10.0", "50%", "40", "300", "2.00"] in rows and ["sources", "10.0", "50%", "2", "100"] in rows
