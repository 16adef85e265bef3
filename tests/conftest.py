"""Shared fixtures: a project of four quick stages with DVC, the store and git, made anew for each test."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.recorder import Recorder
from components.settings.settings import load_settings
from components.stage import StageContext, declared_stages
from components.storage.artifact_store import ArtifactStore
from components.storage.checkpoints import CheckpointFolder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fake_project(tmp_path: Path) -> Path:
    """Return a project folder: the repository's params.yaml and DVC settings, and the stages of tests/fake_project."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "tests" / "fake_project", project, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, project / name)
    (project / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, project / ".dvc" / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=project, check=True)
    subprocess.run([*git, "add", "-A"], cwd=project, check=True)
    subprocess.run([*git, "commit", "-qm", "start"], cwd=project, check=True)
    return project


@pytest.fixture(scope="session")
def stage_context() -> Callable[..., StageContext]:
    """Return a maker of contexts: a stage's row of dvc.yaml and params.yaml with overrides, working in a folder."""

    def make(stage: str, root: Path, overrides: dict[str, Any] | None = None) -> StageContext:
        row = declared_stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))[stage]
        if not (root / "data").exists():
            (root / "data").symlink_to(ROOT / "data")
        return StageContext(
            name=stage, root=root, all_settings=load_settings(ROOT / "params.yaml", overrides=overrides),
            parameters=row["params"], inputs=row["deps"], outputs=row["outs"], recorder=Recorder(root / "records" / stage),
            checkpoints=CheckpointFolder(root / "checkpoints" / stage, key="test"), store=ArtifactStore(root / "store"),
        )  # fmt: skip

    return make
