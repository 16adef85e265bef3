"""The projects the bench works in: this repository where it is up to date, and the tests' project of quick stages."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import yaml

FAKE = "tests/fake_project"
SECONDS = 400.0  # one command at most


def is_settled(project: Path) -> bool:
    """Say whether nothing is stale in the repository and a promotion was decided; nothing is started or changed."""
    plan = subprocess.run([sys.executable, "-m", "flows.cli", "plan"], cwd=project, capture_output=True, text=True, timeout=SECONDS, check=False)
    return plan.returncode == 0 and "nothing would run" in plan.stdout and (project / "runs" / "latest").exists()


def make_fake_project(repository: Path, folder: Path) -> Path:
    """Make a git and DVC project of quick stages in a folder, with free ports; return it."""
    project = folder / "project"
    shutil.copytree(repository / FAKE, project, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvcignore", ".gitignore"):
        shutil.copyfile(repository / name, project / name)
    (project / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(repository / ".dvc" / name, project / ".dvc" / name)
    values = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
    values["system"]["prefect_port"], values["system"]["mlflow_port"] = free_ports(2)
    (project / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    return project


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def retrain_command(project: Path) -> list[str]:
    """Return the command that brings a project up to date."""
    return [sys.executable, "retrain.py"] if (project / "retrain.py").is_file() else [sys.executable, "-m", "flows.cli", "retrain"]
