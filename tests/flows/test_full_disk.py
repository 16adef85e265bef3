"""A disk that is full: one message, exit code 2, the old outputs stand, nothing half-written; with room the stage goes on.

Two real ways to run out of room without rights: a tmpfs in a namespace of our own, and the kernel's limit of a file's size.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

OLD = "artifacts/sources/documents.jsonl"
SMALL_DISK = (
    f"mount -t tmpfs -o size=64k tmpfs artifacts && mkdir artifacts/sources && echo old > {OLD} && "
    f'"$@"; code=$?; find artifacts -type f; cat {OLD}; exit $code'
)
SMALL_FILES = 'ulimit -f 512; exec "$@"'  # 512 × 512 bytes


def namespaced(script: str) -> tuple[str, ...]:
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")


def has_namespaces(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*namespaced(f"mount -t tmpfs tmpfs {folder}")], capture_output=True).returncode == 0


def is_one_message(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 2 and done.stderr.startswith("quarkmed: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stdout


def test_a_full_disk_leaves_the_old_outputs_alone(linked_project, quarkmed):
    if not has_namespaces(linked_project):
        pytest.skip("this kernel lends no namespace to mount a small disk in")
    (linked_project / "artifacts").mkdir()
    done = quarkmed(linked_project, "stage", "sources", prefix=namespaced(SMALL_DISK))
    assert is_one_message(done), done.stderr
    assert "documents.jsonl: cannot be written (No space left on device); free the disk" in done.stderr
    assert done.stdout.splitlines() == [OLD, "old"]


def test_a_file_that_cannot_grow_is_said_and_with_room_the_stage_goes_on(linked_project, forked):
    done = forked(linked_project, "quarkmed", "stage", "sources", file_bytes=64 * 512)
    assert is_one_message(done), done.stderr
    assert "documents.jsonl: cannot be written (File too large); free the disk" in done.stderr
    assert not list((linked_project / "artifacts").rglob("*.jsonl"))
    assert forked(linked_project, "quarkmed", "stage", "sources").returncode == 0
    assert (linked_project / OLD).is_file()


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_said_and_with_room_the_stage_goes_on(undisturbed, tmp_path, quarkmed):
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project, symlinks=True)
    shutil.rmtree(project / "var/work/pretraining")
    done = quarkmed(project, "stage", "pretraining", prefix=("sh", "-c", SMALL_FILES, "sh"))
    assert is_one_message(done), done.stderr
    assert "/checkpoints/step-00000000: cannot be written" in done.stderr and "File too large" in done.stderr
    assert (project / "models/base.json").read_bytes() == (undisturbed / "models/base.json").read_bytes()
    assert not list((project / "var/work/pretraining").glob("*/checkpoints/*"))
    assert quarkmed(project, "stage", "pretraining").returncode == 0
    assert (project / "models/base.json").read_bytes() == (undisturbed / "models/base.json").read_bytes()
