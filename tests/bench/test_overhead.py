"""The overhead bench: how the share is reckoned, and that what runs beside a stage is really at work while it is measured."""

import pytest

from bench.overhead.beside import display_share, heard_seconds, make_run, sample_seconds
from bench.overhead.outcome import Measured, fixed_seconds, lines, share_of_stage, summary
from components.recorder import read_record
from flows.display import last_progress

FOUND = Measured(
    project="x", cold_seconds=[9.0, 3.0, 4.0], up_seconds=[6.0], flow_seconds=[1.5, 1.0, 9.0], plain_seconds=[0.5], tracking_cpu_seconds=0.2,
    display_terminal=0.005, display_lines=0.001, sample_cpu_seconds=0.005, sample_period_seconds=5.0, heard_cpu_seconds=1e-5,
)  # fmt: skip


def test_the_share_of_ten_minutes_counts_what_is_fixed_and_what_runs_beside():
    # fixed 1.5 − 0.5 + 0.2 = 1.2 s; a second .005 + .005 / 5 + 20 × 1e-5 = .0062; of 600 s: (1.2 + 3.72) / 600
    assert fixed_seconds(FOUND) == pytest.approx(1.2)
    assert share_of_stage(FOUND) == pytest.approx(4.92 / 600)
    told = summary(FOUND)
    assert told["no_change_cold_seconds"] == 4.0 and told["share_of_ten_minutes"] == 0.0082
    assert told["meets_aims"] == {"no_change_cold_seconds": True, "no_change_up_seconds": False, "share_of_ten_minutes": True}
    assert any("0.82%" in line and "reckoned" in line for line in lines(FOUND))


def test_what_runs_beside_a_stage_is_measured_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.overhead.beside.STEPS", 500)
    run = make_run(tmp_path / "a")
    assert last_progress(run.parent / "work")["done"] == 500
    assert len(read_record(run.parent / "work")) == 501
    assert 0 < display_share(tmp_path / "b", seconds=1.0, is_terminal=True) < 1
    assert 0 < sample_seconds(tmp_path, seconds=0.3) < 0.2
    assert 0 <= heard_seconds(tmp_path) < 0.001
