"""The two bars of the Prefect page."""

import json

from components.recorder import RECORD
from tasks.progress_page import progress_bars

PLAN = {"kind": "plan", "stages": [{"name": "sources"}, {"name": "ift"}, {"name": "sft"}]}


def _stage(name, status, *, seconds=0.0, folder=""):
    return {"kind": "stage", "name": name, "status": status, "reason": "", "seconds": seconds, "folder": folder}


def test_one_bar_counts_the_stages_and_one_shows_the_stage_at_work(tmp_path):
    (tmp_path / RECORD).write_text(json.dumps({"kind": "progress", "time": 1.0, "done": 40, "total": 160, "shown": {"loss": 2.3125}}) + "\n")
    events = [PLAN, _stage("sources", "running"), _stage("sources", "ran", seconds=9.6), _stage("ift", "running", folder=str(tmp_path))]
    assert progress_bars(events) == {
        "stages": (100.0 / 3, "1 of 3 stages"),
        "stage-at-work": (25.0, "ift: running, 40 of 160 steps, loss 2.312"),
    }


def test_between_two_stages_the_last_that_worked_stays():
    events = [PLAN, _stage("sources", "running"), _stage("sources", "ran", seconds=9.6), _stage("ift", "restored")]
    assert progress_bars(events) == {"stages": (200.0 / 3, "2 of 3 stages"), "stage-at-work": (100.0, "sources: ran, 10 s")}


def test_without_a_plan_there_is_nothing_to_count():
    assert progress_bars([]) == {}
