"""Projects with the real stages at rehearsal scale, runners of commands, and one undisturbed run of all stages that slow tests share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
CODE = ("components", "flows", "tasks", "data", "infra", "bench", "dvc.yaml")
COPIED = (*CODE, ".dvc", "pyproject.toml", ".dvcignore", ".gitignore")
Cli = Callable[..., subprocess.CompletedProcess[str]]
# What `quarkmed stage`, `plan`, `status` and a run's stages import before they begin.
IMPORTED = (
    "flows.looking", "flows.run_command", "flows.retrain_options", "tasks.stage_advance", "dvc.repo", "torch", "components.launch.ranked_stage",
    "components.launch.launcher", "components.curation.sources_stage",
)  # fmt: skip


def _write_parameters(project: Path, **overrides: Any) -> None:
    """Write the rehearsal profile out as the project's params.yaml; overrides: `section__key=value`."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load_settings(ROOT / "params.yaml", profile=ROOT / "infra/profiles/tiny.yaml", overrides=dotted)
    (project / "params.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")


def _copy_project(folder: Path, **overrides: Any) -> Path:
    """Make a clone with the rehearsal profile as its params.yaml and one commit."""
    folder.mkdir(parents=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *COPIED]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for source in (ROOT / name for name in names if name):
        if source.is_file():
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    _write_parameters(folder, **overrides)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def make_project() -> Callable[..., Path]:
    """Return `_copy_project`."""
    return _copy_project


@pytest.fixture(scope="session")
def set_parameters() -> Callable[..., None]:
    """Return `_write_parameters`."""
    return _write_parameters


@pytest.fixture
def linked_project(tmp_path: Path) -> Path:
    """Return a folder whose code and data are the repository's own, for one stage at a time; no DVC, no git."""
    project = tmp_path / "project"
    project.mkdir()
    for name in CODE:
        (project / name).symlink_to(ROOT / name)
    _write_parameters(project)
    return project


@pytest.fixture(scope="session")
def quarkmed() -> Cli:
    """Return a runner of the command line: quarkmed(project, "stage", "sources", prefix=[...])."""

    def run(project: Path, *arguments: str, prefix: tuple[str, ...] = (), timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(project), "DO_NOT_TRACK": "1"}
        command = [*prefix, sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Yield a runner of commands as children of one process that has their imports: forked(folder, "quarkmed", "plan").

    The code is the repository's; `file_bytes` is the largest file a command may write.
    """
    said = tmp_path_factory.mktemp("forked")
    command = [sys.executable, str(Path(__file__).with_name("command_server.py")), *IMPORTED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"

    def run(folder: Path, *words: str, file_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
        stdout, stderr = said / "stdout", said / "stderr"
        for path in (stdout, stderr):
            path.write_text("")
        asked = {"folder": str(folder), "words": words, "environment": {**os.environ, "DO_NOT_TRACK": "1"}, "stdout": str(stdout), "stderr": str(stderr)}
        server.stdin.write(json.dumps({**asked, "file_bytes": file_bytes}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(words, code, stdout.read_text(), stderr.read_text())

    yield run
    server.communicate()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, quarkmed: Cli) -> Path:
    """Return a project after one whole `quarkmed retrain` that nothing disturbed."""
    project = _copy_project(tmp_path_factory.mktemp("undisturbed") / "project", system__prefect_port=4399)
    done = quarkmed(project, "retrain")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return project
