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


def _make_fake_project(project: Path) -> Path:
    """Make a project folder: the repository's params.yaml and DVC settings, and the stages of tests/fake_project."""
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


@pytest.fixture
def fake_project(tmp_path: Path) -> Path:
    """Return a project of the quick stages."""
    return _make_fake_project(tmp_path / "project")


@pytest.fixture(scope="module")
def served_fake_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of the quick stages that a module's tests share."""
    return _make_fake_project(tmp_path_factory.mktemp("served") / "project")


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


WORDING = [
    "Asthma causes wheeze and night cough. It is treated with salbutamol 100 micrograms.",
    "Pneumonia causes fever and a productive cough. A chest X-ray shows consolidation.",
    'What is the diagnosis of a man of 45 with chest pain? {"icd10": "I20.9"}',
]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """Return a tokenizer of 512 tokens trained on three sentences."""
    from components.modeling.tokenizers import train_tokenizer

    return train_tokenizer(WORDING, vocabulary=512)


@pytest.fixture
def tiny_model(tiny_tokenizer: Any) -> Any:
    """Yield a Qwen3 of two layers whose weights are large enough for its answers to differ, with one thread (it is tiny)."""
    import torch

    from components.modeling.models import create_model
    from components.settings.training import ModelSettings

    shape = ModelSettings(
        vocabulary=512, hidden=32, layers=2, heads=4, key_value_heads=2, head_dimension=8, intermediate=48, context=128
    )
    model = create_model(shape, tokenizer=tiny_tokenizer, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield model
    torch.set_num_threads(threads)
