"""`watch_data`: a new version of the data starts one run, whatever is killed or asked twice; anything else starts none."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.errors import ServiceError, SettingsError
from components.pipeline.data_version import data_version
from flows import watch_data as watching
from flows.watch_data import WatchRequest, look_for_new_data


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


class Deployments:
    """Stands for Prefect's server: one run an idempotency key, as it keeps them; may die before or after making one."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.fault = ""

    def run(self, name: str, *, parameters: dict[str, Any], idempotency_key: str, **_: Any) -> SimpleNamespace:
        if self.fault == "before":
            raise ConnectionError("refused")
        self.runs.setdefault(idempotency_key, parameters["request"])
        if self.fault == "after":
            raise ConnectionError("lost the answer")
        return SimpleNamespace(id=idempotency_key, name=f"run {len(self.runs)}")


@pytest.fixture
def deployments(monkeypatch: pytest.MonkeyPatch) -> Deployments:
    found = Deployments()
    monkeypatch.setattr(watching, "run_deployment", found.run)
    monkeypatch.setattr(watching, "create_markdown_artifact", lambda **_: None)
    return found


def change(project: Path, text: str) -> str:
    (project / "data" / "notes.txt").write_text(text)
    git(project, "commit", "-qam", text)
    return git(project, "rev-parse", "HEAD")


def test_each_version_of_the_data_starts_one_run_at_its_commit(fake_project, deployments):
    first = git(fake_project, "rev-parse", "HEAD")
    assert look_for_new_data(fake_project, WatchRequest()) == "run 1"
    assert look_for_new_data(fake_project, WatchRequest()) == "nothing new"
    (fake_project / "recipes" / "training.py").write_text("FACTOR = 9\n")
    git(fake_project, "commit", "-qam", "code only")
    assert look_for_new_data(fake_project, WatchRequest()) == "nothing new"
    second = change(fake_project, "new words")
    assert look_for_new_data(fake_project, WatchRequest(promote="never")) == "run 2"
    change(fake_project, "third")
    git(fake_project, "revert", "--no-edit", "HEAD")  # the second version again, in another commit
    assert look_for_new_data(fake_project, WatchRequest()) == "nothing new"
    assert list(deployments.runs.values()) == [{"revision": first, "promote": "ask"}, {"revision": second, "promote": "never"}]


@pytest.mark.parametrize("fault", ["before", "after"])
def test_killed_around_the_start_the_next_look_makes_the_one_run(fake_project, deployments, fault):
    deployments.fault = fault
    with pytest.raises(ServiceError, match="the next look tries again"):
        look_for_new_data(fake_project, WatchRequest())
    deployments.fault = ""
    assert look_for_new_data(fake_project, WatchRequest()) == "run 1"
    assert look_for_new_data(fake_project, WatchRequest()) == "nothing new" and len(deployments.runs) == 1


def test_a_branch_of_a_remote_is_fetched_without_touching_the_persons_references(fake_project, tmp_path, deployments):
    elsewhere = tmp_path / "elsewhere"
    git(tmp_path, "clone", "-q", str(fake_project), str(elsewhere))
    branch = git(elsewhere, "branch", "--show-current")
    git(fake_project, "remote", "add", "upstream", str(elsewhere))
    newest = change(elsewhere, "from afar")
    before = (git(fake_project, "for-each-ref", "refs/heads", "refs/remotes", "refs/tags"), git(fake_project, "status", "--porcelain"))
    assert look_for_new_data(fake_project, WatchRequest(remote="upstream", branch=branch)) == "run 1"
    assert next(iter(deployments.runs.values()))["revision"] == newest
    assert (git(fake_project, "for-each-ref", "refs/heads", "refs/remotes", "refs/tags"), git(fake_project, "status", "--porcelain")) == before
    assert not (fake_project / ".git" / "FETCH_HEAD").exists()
    with pytest.raises(SettingsError, match="remote 'nowhere', branch 'main': cannot be fetched"):
        look_for_new_data(fake_project, WatchRequest(remote="nowhere", branch="main"))


def test_data_kept_by_dvc_and_a_folder_outside_git_are_versions_too(fake_project, tmp_path):
    before = data_version(fake_project, branch="HEAD")
    git(fake_project, "rm", "-q", "-r", "--cached", "data")
    (fake_project / "data.dvc").write_text("outs:\n- md5: 0123.dir\n  path: data\n")
    git(fake_project, "add", "data.dvc")
    git(fake_project, "commit", "-qm", "data go to DVC")
    kept = data_version(fake_project, branch="HEAD")
    (fake_project / "data.dvc").write_text("outs:\n- md5: 4567.dir\n  path: data\n")
    git(fake_project, "commit", "-qam", "another version")
    assert len({before.digest, kept.digest, data_version(fake_project, branch="HEAD").digest}) == 3
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "documents.jsonl").write_text("{}\n")
    rows = (fake_project / "dvc.yaml").read_text().replace("params: [run, sources]", "params: [run, sources]\n    meta: {folders: [sources.folder]}")
    (fake_project / "dvc.yaml").write_text(rows)
    parameters = (fake_project / "params.yaml").read_text().replace("  folder: null     # a folder of your own sources", f"  folder: {folder}  # own")
    (fake_project / "params.yaml").write_text(parameters)
    git(fake_project, "commit", "-qam", "own sources")
    own = data_version(fake_project, branch="HEAD")
    (folder / "documents.jsonl").write_text("{} \n")
    assert data_version(fake_project, branch="HEAD").digest != own.digest
