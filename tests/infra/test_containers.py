"""The container file: linted, versions named, not root, built from files that are there and that .dockerignore lets through."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.launch.kubernetes_job import USER

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "containers" / "quarkmed.Containerfile"
LINES = FILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
HADOLINT = Path(sys.executable).parent / "hadolint"


def _stages() -> dict[str, list[str]]:
    """Return the instructions of each stage by its name, its FROM first."""
    stages: dict[str, list[str]] = {}
    name = ""
    for line in LINES:
        if line.startswith("FROM "):
            name = line.split(" AS ")[1]
        if name and line.strip() and not line.startswith("#"):
            stages.setdefault(name, []).append(line)
    return stages


def _lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HADOLINT), "--failure-threshold", "style", str(path)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", sorted((ROOT / "infra" / "containers").iterdir()), ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    assert (_lint(path).returncode, _lint(path).stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    path = tmp_path / "Containerfile"
    path.write_text("FROM python:latest\nRUN cd /tmp\n", encoding="utf-8")
    done = _lint(path)
    assert done.returncode == 1
    assert "DL3007" in done.stdout  # an image tagged latest


def test_images_from_outside_name_their_version():
    stages = _stages()
    outside = [lines[0].split()[1] for lines in stages.values() if lines[0].split()[1] not in stages]
    assert outside == ["python:3.11.13-slim-bookworm"]


@pytest.mark.parametrize("target", ["trainer", "control"])
def test_an_image_ends_as_the_user_of_the_manifests(target):
    users = [line for line in _stages()[target] if line.startswith("USER ")]
    assert users == [f"USER {USER}:{USER}"]
    assert f"useradd --uid {USER}" in " ".join(_stages()["base"])


def test_what_is_copied_exists_and_is_let_through():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = {source for line in LINES if line.startswith("COPY ") and "--from" not in line for source in line.split()[1:-1]}
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_packages_are_those_of_the_lock_installed_by_the_same_uv():
    text = "\n".join(LINES)
    installs = [line for line in LINES if "uv pip install" in line]
    assert len(installs) == 2
    assert all("--constraint requirements.lock --requirement pyproject.toml" in line for line in installs)
    uv = re.search(r"uv==([\d.]+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert uv is not None and f"uv=={uv[1]}" in text


def test_no_secret_goes_into_an_image():
    assert not [line for line in LINES if re.match(r"(ARG|ENV) ", line) and re.search(r"PASSWORD|SECRET|TOKEN|KEY", line)]
    assert not [line for line in LINES if re.match(r"(COPY|ADD) (\S+ )?\. ", line)]
