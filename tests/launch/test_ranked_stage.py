"""A training stage on two processes by the one command: it publishes once, what one process publishes to 1e-5."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from components import layout
from components.errors import SettingsError
from components.launch.ranked_stage import execute_ranked_stage
from components.recorder import read_record
from components.storage.artifact_store import read_reference


def _weights(root: Path) -> dict[str, torch.Tensor]:
    return load_file(root / "var" / "store" / read_reference(root / layout.BASE).key / "model.safetensors")


def _run(root: Path, *launcher: str) -> Path:
    """Run the stage in a process of its own, by a launcher where one is named; return the folder of its record."""
    scripts = Path(sys.executable).parent
    done = subprocess.run([*launcher, str(scripts / "quarkmed"), "stage", "pretraining"], cwd=root, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("its record:") == 1
    return next((root / "var" / "work" / "pretraining").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "optimiser"), [("ddp", "muon"), ("deepspeed", "adamw")])
def test_torchrun_runs_a_stage_on_two_ranks(tmp_path, small_project, strategy, optimiser):
    one = small_project(tmp_path / "one", strategy="single", optimiser=optimiser)
    two = small_project(tmp_path / "two", strategy=strategy, optimiser=optimiser)
    torchrun = str(Path(sys.executable).parent / "torchrun")
    records = [_run(one), _run(two, torchrun, "--nproc-per-node", "2", "--no-python")]
    for name, value in _weights(one).items():
        torch.testing.assert_close(_weights(two)[name], value, rtol=0, atol=1e-5)
    steps = [[entry["step"] for entry in read_record(folder) if entry["kind"] == "metrics"] for folder in records]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("name", ["curate", "reward_models"])
def test_a_stage_of_one_process_is_refused(tmp_path, small_project, name):
    with pytest.raises(SettingsError, match=f"stage {name} runs in one process"):
        execute_ranked_stage(name, root=str(small_project(tmp_path, strategy="ddp")))


def test_several_processes_without_a_strategy_are_refused(tmp_path, small_project):
    with pytest.raises(SettingsError, match=r"engine\.strategy is single"):
        execute_ranked_stage("pretraining", root=str(small_project(tmp_path, strategy="single")))
