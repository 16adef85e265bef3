"""The ledger: a pod counts once, by its last line, whatever was torn; and the command that shows it."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from components.errors import UserError
from components.launch.gpu_hours import LEDGER, PodTime, open_ledger
from flows.spent_command import spent

POD = PodTime(pod="p-0", uid="u0", node="n", run="run-1", stage="sft", key="k", attempt=1, gpus=8, started=0.0, ended=1800.0, has_ended=False)


def test_the_last_line_of_a_pod_counts(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.note([POD])
    ledger.note([dataclasses.replace(POD, ended=3600.0, has_ended=True), dataclasses.replace(POD, uid="u1", run="run-2", gpus=1)])
    ledger.note([dataclasses.replace(POD, ended=3600.0, has_ended=True)])  # nothing new: no line
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 3
    assert ledger.gpu_hours(run="run-1") == 8.0
    assert ledger.gpu_hours() == 8.5


def test_a_torn_line_costs_itself_alone(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.note([POD])
    with (tmp_path / LEDGER).open("a") as stream:
        stream.write('{"pod": "p-1", "uid"')
    ledger.note([dataclasses.replace(POD, uid="u2")])
    assert [pod.uid for pod in ledger.pods()] == ["u0", "u2"]


def test_spent_shows_runs_and_stages(tmp_path, capsys):
    shutil.copyfile(Path(__file__).parents[2] / "params.yaml", tmp_path / "params.yaml")
    console = Console(width=160)
    spent(tmp_path, run=None, as_json=False, console=console)
    assert "no stage ran on a cluster" in capsys.readouterr().out
    open_ledger(tmp_path).note([POD, dataclasses.replace(POD, uid="u1", attempt=2, ended=900.0, has_ended=True)])
    spent(tmp_path, run="run-1", as_json=False, console=console)
    said = capsys.readouterr().out
    # 8 GPUs for half an hour and for a quarter: 4 + 2
    assert "6.00 GPU-hours; budget of one run: none" in said and "at work when last seen" in said
    with pytest.raises(UserError, match="no pod of run 'other'"):
        spent(tmp_path, run="other", as_json=False, console=console)
