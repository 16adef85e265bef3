"""Killed at each stage, the next run goes on: the same bytes as an undisturbed run, and nothing done twice."""

import json
import subprocess
import sys
from pathlib import Path

from components.recorder import read_record

OUTPUTS = ("artifacts/sources/documents.jsonl", "models/ift.json", "models/grpo_general.json", "artifacts/evaluate/results.parquet")


def run_stages(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "retrain.py", "--stages-only"], cwd=project, capture_output=True, text=True, timeout=120)


def last_losses(project: Path) -> list[float]:
    folder = next(path.parent for path in (project / "var" / "work" / "ift").glob("*/finished.json"))
    return [entry["values"]["loss"] for entry in read_record(folder) if entry["kind"] == "metrics"]


def test_killed_at_each_stage_the_next_run_goes_on(fake_project, tmp_path):
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
    interrupted = {path: (fake_project / path).read_bytes() for path in OUTPUTS}
    forget_everything(fake_project)
    assert run_stages(fake_project).stdout.split()[1::2] == ["ran"] * 4
    assert {path: (fake_project / path).read_bytes() for path in OUTPUTS} == interrupted


def test_a_stage_that_had_ended_before_the_kill_is_only_recorded(fake_project):
    assert run_stages(fake_project).returncode == 0
    (fake_project / "dvc.lock").unlink()  # as if killed between the end of a stage and DVC's commit
    (fake_project / "calls.txt").unlink()
    assert run_stages(fake_project).stdout.split()[1::2] == ["resumed"] * 4
    assert not (fake_project / "calls.txt").exists()


def test_failures_are_one_message_with_exit_code_2_and_no_traceback(fake_project):
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


def forget_everything(project: Path) -> None:
    import shutil

    for name in ("var", "artifacts", "models", "dvc.lock"):
        path = project / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
