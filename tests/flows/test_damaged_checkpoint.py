"""A damaged checkpoint through the real command line: the one before is used and that is said, or it is refused clearly."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def interrupted(undisturbed: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """Return a project whose stage `pretraining` was killed after its second checkpoint, and its checkpoints, oldest first."""
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project, symlinks=True)
    shutil.rmtree(project / "var/work/pretraining")
    (project / "models/base.json").unlink()
    command = [sys.executable, "-m", "flows.cli", "stage", "pretraining"]
    stage = subprocess.Popen(command, cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while [path.name for path in checkpoints_of(project)] != ["step-00000040", "step-00000080"]:
        assert stage.poll() is None
        time.sleep(0.005)
    stage.kill()
    stage.wait()
    return project, checkpoints_of(project)


def checkpoints_of(project: Path) -> list[Path]:
    return sorted((project / "var/work/pretraining").glob("*/checkpoints/step-????????"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.slow
def test_the_checkpoint_before_a_damaged_one_is_used_and_that_is_said(interrupted, undisturbed, quarkmed):
    project, checkpoints = interrupted
    flip_a_byte(checkpoints[1] / "tensors.safetensors")
    done = quarkmed(project, "stage", "pretraining")
    assert done.returncode == 0, done.stderr
    assert f"note: {checkpoints[1]}: tensors.safetensors is damaged; using the one before" in done.stdout
    assert (project / "models/base.json").read_bytes() == (undisturbed / "models/base.json").read_bytes()


@pytest.mark.slow
def test_where_no_checkpoint_is_sound_the_stage_is_refused_and_they_are_kept(interrupted, quarkmed):
    project, checkpoints = interrupted
    for path in checkpoints:
        flip_a_byte(path / "tensors.safetensors")
    done = quarkmed(project, "stage", "pretraining")
    assert done.returncode == 2 and done.stderr.startswith("quarkmed: ") and "Traceback" not in done.stderr
    assert "no checkpoint is sound" in done.stderr and "delete the folder to start this work anew" in done.stderr
    assert all(path.is_dir() for path in checkpoints) and not (project / "models/base.json").exists()
