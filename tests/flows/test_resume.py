"""Killed at each stage, the next run goes on: the same bytes as an undisturbed run, and nothing done twice."""

import json
from pathlib import Path

import pytest

from components.recorder import read_record

OUTPUTS = ("artifacts/sources/documents.jsonl", "models/ift.json", "models/grpo_general.json", "artifacts/evaluate/results.parquet")


@pytest.fixture
def run_stages(forked):
    """Return a runner of a project's stages in a process of its own."""
    return lambda project: forked(project, "retrain.py", "--stages-only")


def last_losses(project: Path) -> list[float]:
    folder = next(path.parent for path in (project / "var" / "work" / "ift").glob("*/finished.json"))
    return [entry["values"]["loss"] for entry in read_record(folder) if entry["kind"] == "metrics"]


@pytest.fixture(scope="module")
def undisturbed_stages(served_fake_project, forked):
    """Return a project whose stages ran undisturbed."""
    assert forked(served_fake_project, "retrain.py", "--stages-only").stdout.split()[1::2] == ["ran"] * 4
    return served_fake_project


def test_killed_at_each_stage_the_next_run_goes_on(fake_project, undisturbed_stages, run_stages):
    faults = ["sources before kill", "ift middle kill", "grpo_general before kill", "evaluate before kill"]
    (fake_project / "faults.txt").write_text("\n".join(faults) + "\n")
    seen = []
    for _ in faults:
        done = run_stages(fake_project)
        assert done.returncode == -9, done.stderr
        seen.append(done.stdout.split())
    last = run_stages(fake_project)
    assert last.returncode == 0, last.stderr
    # Each run skips what stood, goes on in `ift` from the checkpoint of step 2, and reaches the next fault.
    assert seen == [
        [],
        ["sources", "ran"],
        ["sources", "skipped", "ift", "resumed"],
        ["sources", "skipped", "ift", "skipped", "grpo_general", "ran"],
    ]
    assert last.stdout.split() == ["sources", "skipped", "ift", "skipped", "grpo_general", "skipped", "evaluate", "ran"]
    assert last_losses(fake_project) == [1.0, 1 / 2, 1 / 3, 1 / 4]
    for path in OUTPUTS:
        assert (fake_project / path).read_bytes() == (undisturbed_stages / path).read_bytes()


def test_a_stage_that_had_ended_before_the_kill_is_only_recorded(undisturbed_stages, run_stages):
    (undisturbed_stages / "dvc.lock").unlink()  # as if killed between the end of a stage and DVC's commit
    (undisturbed_stages / "calls.txt").unlink()
    assert run_stages(undisturbed_stages).stdout.split()[1::2] == ["resumed"] * 4
    assert not (undisturbed_stages / "calls.txt").exists()


def test_failures_are_one_message_with_exit_code_2_and_no_traceback(fake_project, run_stages):
    (fake_project / "faults.txt").write_text("sources before error\ngrpo_general before bug\n")
    done = run_stages(fake_project)
    assert (done.returncode, done.stderr) == (2, "quarkmed: data/notes.txt:1: a bad word; remove it\n")
    done = run_stages(fake_project)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("quarkmed: ZeroDivisionError: a mistake in the code (traceback in ")
    assert "a mistake in the code" in (fake_project / "var" / "stages.log").read_text()
    events = [json.loads(line) for line in (fake_project / "runs" / "run" / "events.jsonl").read_text().splitlines()]
    assert [(event["name"], event["status"]) for event in events if event["status"] == "failed"] == [("sources", "failed"), ("grpo_general", "failed")]
    assert run_stages(fake_project).returncode == 0
