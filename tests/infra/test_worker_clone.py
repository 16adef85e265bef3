"""The worker's first container clones the project once, keeps git's credential store in the clone, and leaves a clone alone."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def clone(rendered, tmp_path):
    """Return a function that runs the container's command with its folders below tmp_path."""
    (worker,) = [item for item in rendered("base") if item["kind"] == "Deployment" and item["metadata"]["name"] == "worker"]
    command = [part.replace("/project", f"{tmp_path}/project") for part in worker["spec"]["template"]["spec"]["initContainers"][0]["command"]]
    assert command[0] == "sh"

    def run(repository: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "QUARKMED_REPOSITORY": str(repository)}, capture_output=True, text=True)

    return run


def _git(*arguments: str, folder: Path) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_it_clones_into_an_empty_volume_and_then_leaves_it_alone(clone, tmp_path):
    repository, project = tmp_path / "repository", tmp_path / "project"
    repository.mkdir()
    project.mkdir()  # the volume's own folder
    _git("init", "-q", folder=repository)
    _git("commit", "-q", "--allow-empty", "-m", "first", folder=repository)
    done = clone(repository)
    assert done.returncode == 0, done.stderr
    assert _git("log", "--format=%s", folder=project) == "first"
    assert _git("config", "credential.helper", folder=project) == "store --file=/secrets/repository/credentials"
    _git("commit", "-q", "--allow-empty", "-m", "second", folder=repository)
    assert clone(repository).returncode == 0
    assert _git("log", "--format=%s", folder=project) == "first"


def test_a_repository_that_is_not_there_fails_the_pod(clone, tmp_path):
    assert clone(tmp_path / "nowhere").returncode != 0
