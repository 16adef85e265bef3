"""What a bench says of the code it ran."""

import subprocess

from bench.machine import git_state


def test_stored_results_leave_a_tree_clean_and_code_does_not(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    (tmp_path / "code.py").write_text("a = 1\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "bench" / "results").mkdir(parents=True)
    (tmp_path / "bench" / "results" / "training.json").write_text("{}")
    assert git_state(tmp_path).is_clean
    (tmp_path / "code.py").write_text("a = 2\n")
    assert not git_state(tmp_path).is_clean


def test_outside_git_neither_commit_nor_state_is_known(tmp_path):
    assert git_state(tmp_path).sha is None and git_state(tmp_path).is_clean is None
