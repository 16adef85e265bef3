"""The whole flow with the real stages at rehearsal scale: raw data to a decision, then nothing left to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.layout import MODELS
from components.pipeline.stages import STAGES
from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
COPIED = ("components", "flows", "tasks", "data", "infra", "bench", ".dvc", "dvc.yaml", "pyproject.toml", ".dvcignore", ".gitignore")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone with the rehearsal profile written out as its params.yaml."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    folder.mkdir()
    files = subprocess.run(["git", "ls-files", "-z", *COPIED], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    settings = load_settings(ROOT / "params.yaml", profile=ROOT / "infra/profiles/tiny.yaml", overrides={"system.prefect_port": 4399})
    (folder / "params.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def _retrain(project: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "flows.cli", "retrain"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=1500)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_raw_data_becomes_a_decided_version_and_then_nothing_is_left(project):
    first = _retrain(project)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    summary = json.loads((project / "runs/latest/summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == list(STAGES)
    assert {stage["status"] for stage in summary["stages"]} <= {"ran", "resumed"}
    assert set(summary["metrics"]) == set(MODELS)
    assert summary["registry"]["decision"] and summary["registry"]["reasons"]
    second = _retrain(project)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "starting the Prefect server" not in second.stdout
