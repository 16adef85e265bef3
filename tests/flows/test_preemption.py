"""Told to stop by a real signal, the command line saves the step at work, exits with 43 and says how to go on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import EXIT_PREEMPTED

BASE = "models/base.json"


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(project), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_steps(project: Path, stage: str, process: subprocess.Popen[str]) -> None:
    """Return once the stage's record shows a few steps."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if any(path.read_text().count('"metrics"') >= 5 for path in (project / "var/work" / stage).glob("*/record.jsonl")):
                return
        time.sleep(0.02)
    raise AssertionError(process.stderr.read())


def ending(process: subprocess.Popen[str], number: int) -> str:
    """Send the signal and return what was said; one line, and the exit code of a preemption."""
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == EXIT_PREEMPTED, said
    lines = [line for line in said.splitlines() if line.startswith("quarkmed: ")]
    assert len(lines) == 1 and "Traceback" not in said, said
    return lines[0]


@pytest.mark.slow
def test_a_stage_sent_sigterm_goes_on_to_the_bytes_of_an_undisturbed_one(undisturbed, tmp_path, quarkmed):
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project, symlinks=True)
    shutil.rmtree(project / "var/work/pretraining")
    process = start(project, "stage", "pretraining")
    wait_for_steps(project, "pretraining", process)
    said = ending(process, signal.SIGTERM)
    assert "told to stop: saved after step" in said and said.endswith("run the same command again to go on")
    assert (project / BASE).read_bytes() == (undisturbed / BASE).read_bytes()  # the old output is back
    (project / BASE).unlink()
    assert quarkmed(project, "stage", "pretraining").returncode == 0
    assert (project / BASE).read_bytes() == (undisturbed / BASE).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_retrain_stopped_by_ctrl_c_saves_the_step_its_worker_was_at(undisturbed, tmp_path, quarkmed):
    project = tmp_path / "project"
    subprocess.run(["git", "clone", "-q", str(undisturbed), str(project)], check=True)
    process = start(project, "retrain")
    wait_for_steps(project, "pretraining", process)
    assert "told to stop: saved after step" in ending(process, signal.SIGINT)
    assert not (project / BASE).exists()
    assert quarkmed(project, "stage", "pretraining").returncode == 0
    assert (project / BASE).read_bytes() == (undisturbed / BASE).read_bytes()
