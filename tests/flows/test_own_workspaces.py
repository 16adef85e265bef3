"""Workspaces of runs: made from a request without touching the person's files, gone on with, removed, swept."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.errors import SettingsError, UserError
from components.launch.gpu_hours import PodTime, open_ledger
from components.launch.launcher import open_launcher
from components.settings.settings import load_settings
from flows.own_workspaces import is_note_held, own_workspace, sweep_workspaces, workspace_notes
from flows.retrain_request import RetrainRequest


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", message)


def persons_state(project: Path) -> tuple[str, ...]:
    return (git(project, "for-each-ref"), git(project, "rev-parse", "HEAD"), git(project, "status", "--porcelain"), git(project, "ls-files", "--stage"))


def test_a_workspace_holds_the_revision_and_the_persons_files_stay_as_they_are(fake_project):
    (fake_project / "data" / "notes.txt").write_text("not committed\n")
    (fake_project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    before = persons_state(fake_project)
    with own_workspace(fake_project, RetrainRequest(overrides=["ift.steps=7"], promote="never")) as place:
        assert (place.folder / "data" / "notes.txt").read_text() == git(fake_project, "show", "HEAD:data/notes.txt") + "\n"
        assert (place.settings.ift.steps, place.settings.system.promote) == (7, "never")
        assert git(place.folder, "status", "--porcelain", "--untracked-files=no") == ""  # what was asked is a commit
        assert git(place.folder, "rev-parse", "HEAD^") == git(fake_project, "rev-parse", "HEAD")
        for shared in ("var/store", "var/mlflow", "var/registry", "var/dvc-cache", "runs"):
            assert (place.folder / shared).resolve() == (fake_project / shared).resolve()
        for own in ("var/work", "var/retrain.lock", "dvc.lock"):
            assert (place.folder / own).resolve() != (fake_project / own).resolve()
        assert persons_state(fake_project) == before
    assert persons_state(fake_project) == before
    assert not place.folder.exists() and workspace_notes(fake_project) == []
    assert len(git(fake_project, "worktree", "list").splitlines()) == 1
    assert (fake_project / "var" / "store").is_dir()  # what is shared outlives the workspace


def test_equal_requests_are_equal_commits_and_a_plain_one_is_the_revision_itself(fake_project):
    settings = load_settings(fake_project / "params.yaml").system
    plain = RetrainRequest(promote=settings.promote)
    heads = []
    for request in (plain, RetrainRequest(overrides=["run.seed=3"]), RetrainRequest(overrides=["run.seed=3"])):
        with own_workspace(fake_project, request) as place:
            heads.append(git(place.folder, "rev-parse", "HEAD"))
    assert heads[0] == git(fake_project, "rev-parse", "HEAD") and heads[1] == heads[2] != heads[0]


def test_another_data_revision_changes_the_data_only(fake_project):
    (fake_project / "data" / "notes.txt").write_text("two words\n")
    (fake_project / "data" / "more.txt").write_text("more\n")
    git(fake_project, "add", "data")
    (fake_project / "recipes" / "wording.py").write_text("WORD = 'new'\n")
    commit(fake_project, "new data and code")
    with own_workspace(fake_project, RetrainRequest(data_revision="HEAD~1")) as place:
        assert (place.folder / "recipes" / "wording.py").read_text() == "WORD = 'new'\n"
        assert not (place.folder / "data" / "more.txt").exists()
        assert git(place.folder, "rev-parse", "HEAD:data") == git(fake_project, "rev-parse", "HEAD~1:data")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"overrides": ["ift.stepz=7"]}, r"override ift\.stepz: unknown key; did you mean ift\.steps\?"),
        ({"overrides": ["itf.optimiser.learning_rate=1e-3"]}, r"unknown key; did you mean ift\.optimiser\.learning_rate\?"),
        ({"overrides": ["ift.steps=many"]}, r"override ift\.steps: Input should be a valid integer.*found 'many'"),
        ({"revision": "no-such-branch"}, "revision 'no-such-branch': git knows no such branch"),
        ({"profile": "tiny"}, r"profile 'tiny': revision HEAD has no infra/profiles/tiny\.yaml"),
        ({"from_stage": "sft"}, "no stage 'sft'; stages: sources, ift, grpo_general, evaluate"),
        ({"overrides": ["sources.folder=../elsewhere"]}, r"sources\.folder: '\.\./elsewhere' leads out of the project"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_and_leaves_nothing(fake_project, asked, message):
    if "folder" in str(asked):
        rows = yaml.safe_load((fake_project / "dvc.yaml").read_text())
        rows["stages"]["sources"]["meta"] = {"folders": ["sources.folder"]}
        (fake_project / "dvc.yaml").write_text(yaml.safe_dump(rows))
        commit(fake_project, "a folder setting")
    with pytest.raises(SettingsError, match=message), own_workspace(fake_project, RetrainRequest(**asked)):
        raise AssertionError("the block ran")
    assert workspace_notes(fake_project) == [] and len(git(fake_project, "worktree", "list").splitlines()) == 1


def test_a_failed_run_keeps_its_workspace_and_the_same_request_goes_on_in_it(fake_project):
    request = RetrainRequest(overrides=["run.seed=3"], budget_gpu_hours=2)
    pod = PodTime(pod="p", uid="u", node="n", run="", stage="ift", key="k", attempt=1, gpus=8, started=0.0, ended=900.0, has_ended=True)
    with pytest.raises(UserError), own_workspace(fake_project, request, flow_run="first") as place:
        (place.folder / "var" / "work").mkdir()
        open_ledger(place.folder).note([replace(pod, run=place.run)])
        raise UserError("a bad word")
    [note] = workspace_notes(fake_project)
    assert (note.run, note.status, note.reason) == (place.run, "failed", "a bad word")
    with own_workspace(fake_project, RetrainRequest(overrides=["run.seed=4"])) as other:
        assert other.run != place.run and not other.is_resumed
    with own_workspace(fake_project, request, flow_run="second") as again:
        assert (again.run, again.is_resumed) == (place.run, True) and (again.folder / "var" / "work").is_dir()
        launcher = open_launcher(again.folder, run=again.run, settings=again.settings, table="fake_stages:STAGES")
        with pytest.raises(UserError, match=r"this run has spent 2\.00 of its 2 GPU-hours"):  # what it spent before it failed counts
            launcher.run_stage("ift", "0" * 64)
        with own_workspace(fake_project, request) as third:  # the other one is held: another workspace
            assert third.run != place.run and is_note_held(fake_project, note)
    assert workspace_notes(fake_project) == []


def test_a_run_that_goes_on_takes_the_budget_of_now(fake_project):
    runs, budgets = set(), []
    for budget in (2, 3, 0):  # 0: that of params.yaml, which names none
        with pytest.raises(UserError), own_workspace(fake_project, RetrainRequest(overrides=["run.seed=3"], budget_gpu_hours=budget)) as place:
            runs.add(place.run)
            budgets.append(place.settings.launch.budget_gpu_hours)
            changed = git(place.folder, "diff", "--name-only", "HEAD").split()
            assert place.settings.run.seed == 3 and changed == ([] if budget == 2 else ["data/notes.txt"])  # the budget alone is committed
            (place.folder / "data" / "notes.txt").write_text("changed by the run\n")
            raise UserError("the budget is spent")
    assert len(runs) == 1 and budgets == [2.0, 3.0, None]


def test_workspaces_nobody_goes_on_with_are_swept_by_age_and_number_but_never_a_held_one(fake_project):
    for seed in range(7):
        with pytest.raises(UserError), own_workspace(fake_project, RetrainRequest(overrides=[f"run.seed={seed}"])):
            raise UserError("failed")
    kept = [note.run for note in workspace_notes(fake_project)]
    assert len(kept) == 6  # five kept, and the one that failed after the last sweep
    with own_workspace(fake_project, RetrainRequest(overrides=["run.seed=9"])) as held:
        assert len(workspace_notes(fake_project)) == 6
        (fake_project / "var" / "worktrees" / "half-made").mkdir()
        swept = sweep_workspaces(fake_project, now=workspace_notes(fake_project)[-1].touched + 8 * 86_400)
        assert len(swept) == 5 and [note.run for note in workspace_notes(fake_project)] == [held.run]
        assert not (fake_project / "var" / "worktrees" / "half-made").exists()
