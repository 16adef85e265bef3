"""A workspace of its own and DVC: what was made before is restored there, and what is made there is restored elsewhere."""

from pathlib import Path

import pytest

from components.pipeline.own_workspace import check_out_data, make_workspace, resolve_revision
from components.pipeline.plan import make_plan
from components.pipeline.restoring import restore_ahead
from components.pipeline.run_reference import run_git
from components.pipeline.running import run_stage, stage_function
from components.pipeline.workspace import Workspace
from components.pipeline.worktrees import remove_worktree
from components.settings.settings import load_settings


@pytest.fixture
def project(fake_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(fake_project))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(fake_project / "var" / "dvc-site"))
    return fake_project


def run_stale(folder: Path) -> list[str]:
    """Restore, then run what is left; return the stages that ran."""
    workspace, ran = Workspace(folder, load_settings(folder / "params.yaml")), []
    restore_ahead(workspace, but=frozenset(), restore=lambda name, why: workspace.restore(name) is not None)
    for name in workspace.graph.names:
        if workspace.reasons(name):
            taken = workspace.input_hashes(name)
            run_stage(workspace.graph.row(name), root=folder, settings=workspace.settings, function=stage_function(name, "fake_stages:STAGES"))
            workspace.commit(name, taken)
            ran.append(name)
    return ran


def test_what_was_made_anywhere_is_restored_everywhere(project):
    everything = ["sources", "ift", "grpo_general", "evaluate"]
    first, second = (project / "var" / "worktrees" / name for name in ("first", "second"))
    commit = resolve_revision(project, "HEAD")
    make_workspace(project, first, commit=commit)
    assert run_stale(first) == everything
    remove_worktree(project, first)
    make_workspace(project, second, commit=commit)
    assert run_stale(second) == []
    weight = (second / "models" / "grpo_general.json").read_text()
    assert run_stale(project) == []  # the person's folder too
    assert (project / "models" / "grpo_general.json").read_text() == weight
    anew = frozenset(Workspace(second, load_settings(second / "params.yaml")).graph.downstream("ift"))
    plan = make_plan(Workspace(second, load_settings(second / "params.yaml")), anew=anew)
    assert [(stage.name, stage.action) for stage in plan] == [("sources", "skip"), ("ift", "run"), ("grpo_general", "run"), ("evaluate", "run")]


def test_data_that_dvc_keeps_are_checked_out_from_the_shared_cache(project):
    from dvc.repo import Repo

    run_git(project, "rm", "-r", "-q", "--cached", "data")
    Repo(str(project)).add(str(project / "data"))
    run_git(project, "add", "data.dvc", ".gitignore")
    run_git(project, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "data in DVC")
    folder = project / "var" / "worktrees" / "first"
    make_workspace(project, folder, commit=resolve_revision(project, "HEAD"))
    assert not (folder / "data").exists()
    check_out_data(folder)
    assert (folder / "data" / "notes.txt").read_text() == (project / "data" / "notes.txt").read_text()
