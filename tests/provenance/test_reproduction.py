"""Running a version again: equal where the stages are deterministic, shown where not, refused where its data are gone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.curation.withdrawn import Withdrawal, add_withdrawals
from components.errors import UserError
from components.pipeline.data_digest import data_digest
from components.pipeline.run_reference import keep_run
from components.pipeline.running import run_stage, stage_function
from components.pipeline.workspace import Workspace
from components.provenance.reproduction import FOLDER, forget_workspace, reproduce
from components.settings.settings import load_settings

RUN = "20260101-000000-aaaa"
COMMAND = (sys.executable, "-c", "import sys; from components.pipeline.running import execute_stage; execute_stage(sys.argv[1], root='.', table='fake_stages:STAGES')")


@pytest.fixture(scope="module")
def kept_once(served_fake_project):
    """The fake project after one kept run, to be copied; its stages ran in this process, committed by DVC."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(served_fake_project))
        patched.setenv("DVC_SITE_CACHE_DIR", str(served_fake_project / "var" / "dvc-site"))
        workspace = Workspace(served_fake_project, load_settings(served_fake_project / "params.yaml"))
        for name in workspace.graph.names:
            taken = workspace.input_hashes(name)
            run_stage(workspace.graph.row(name), root=served_fake_project, settings=workspace.settings, function=stage_function(name, "fake_stages:STAGES"))
            workspace.commit(name, taken)
    keep_run(served_fake_project, RUN, message="run")
    return served_fake_project


@pytest.fixture
def project(kept_once, tmp_path, monkeypatch):
    """A copy of it."""
    copy = tmp_path / "project"
    shutil.copytree(kept_once, copy, symlinks=True)
    monkeypatch.syspath_prepend(str(copy))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(copy / "var" / "dvc-site"))
    return copy


def again(project, **options):
    return reproduce(project, RUN, command=COMMAND, **options)


def state(project):
    """Return every file of the project with its bytes, without what reproducing may write."""
    skipped = (".git", "reproductions", "dvc-site", "lineage", "__pycache__")
    files = (path for path in project.rglob("*") if path.is_file() and not set(path.relative_to(project).parts) & set(skipped))
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def test_the_digest_of_data_is_dvcs_own(project):
    workspace = Workspace(project, load_settings(project / "params.yaml"))
    (project / "data" / "more").mkdir()
    (project / "data" / "more" / "ä.txt").write_text("z")
    (project / "data" / "__pycache__").mkdir()
    (project / "data" / "__pycache__" / "x.pyc").write_text("compiled")
    hashes = workspace.input_hashes("sources")
    assert {path: data_digest(project / path) for path in ("data", "recipes/wording.py")} == {path: hashes[path] for path in ("data", "recipes/wording.py")}
    assert data_digest(project / "nowhere") is None


@pytest.mark.slow
@pytest.mark.long
def test_deterministic_stages_come_out_equal_and_the_project_is_not_touched(project):
    before = state(project)
    calls = (project / "calls.txt").read_text()
    found = again(project)
    assert list(found.stages) == ["sources", "ift", "grpo_general", "evaluate"] and found.is_equal and found.notes == ()
    model = found.stages["grpo_general"][0]
    assert model.model_then == model.model_now == json.loads((project / "models/grpo_general.json").read_text())["digest"]
    assert state(project) == before
    assert (Path(found.folder) / "calls.txt").read_text() == calls  # every stage ran, none was restored
    forget_workspace(project, found)
    listing = subprocess.run(["git", "worktree", "list"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert not Path(found.folder).exists() and len(listing.splitlines()) == 1


@pytest.mark.parametrize("until", ["sources", pytest.param("ift", marks=pytest.mark.slow)])
def test_a_stage_that_came_out_different_is_shown_and_the_next_is_judged_on_the_old_inputs(project, until):
    altered = "import pathlib; p = pathlib.Path('data/notes.txt'); p.write_text(p.read_text() + ' new'); execute_stage(sys"
    found = reproduce(project, RUN, command=(*COMMAND[:2], COMMAND[2].replace("execute_stage(sys", altered)), until=until)
    expected = {"sources": [False], "ift": [True, True]} if until == "ift" else {"sources": [False]}
    assert {name: [output.is_equal for output in outputs] for name, outputs in found.stages.items()} == expected
    assert found.stages["sources"][0].differing == ("documents.jsonl",) and not found.is_equal


@pytest.mark.slow
@pytest.mark.long
def test_single_stages_take_their_inputs_from_the_locked_data(project):
    for path in ("artifacts", "models"):
        shutil.rmtree(project / path)  # only cache and store are left
    found = again(project, stages=("evaluate", "grpo_general"))
    assert list(found.stages) == ["grpo_general", "evaluate"] and found.is_equal
    assert (Path(found.folder) / "calls.txt").read_text() == "grpo_general before\nevaluate before\n"


def test_it_refuses_where_data_or_models_are_missing_and_leaves_nothing(project):
    shutil.rmtree(project / "var/dvc-cache")
    shutil.rmtree(project / "artifacts")
    with pytest.raises(UserError, match=rf"run {RUN} cannot be reproduced: artifacts/sources \(.*\.dir\) is neither in DVC's cache nor in the folder"):
        again(project, stages=("ift",))
    shutil.rmtree(project / "var/store")
    with pytest.raises(UserError, match=r"models/ift\.json: the store has no models/"):
        again(project, stages=("grpo_general",))
    assert not (project / FOLDER / RUN).exists()


@pytest.mark.slow
@pytest.mark.long
def test_a_failed_stage_is_named_and_the_next_attempt_goes_on_behind_what_had_ended(project):
    broken = (*COMMAND[:2], COMMAND[2].replace("import sys;", "import sys; assert sys.argv[1] != 'ift', 'no luck';"))
    with pytest.raises(UserError, match=r"(?s)stage ift failed in .*no luck"):
        reproduce(project, RUN, command=broken)
    found = again(project)
    assert found.is_equal and (Path(found.folder) / "calls.txt").read_text().count("sources before") == 1


@pytest.mark.slow
@pytest.mark.long
def test_code_that_was_not_committed_is_noted(project):
    code = project / "components" / "recipe"
    code.mkdir(parents=True)
    (code / "x.py").write_text("X = 1\n")
    lock = project / "dvc.lock"
    lock.write_text(lock.read_text().replace("    - path: recipes/training.py\n", f"    - path: components/recipe\n      hash: md5\n      md5: {data_digest(code)}\n    - path: recipes/training.py\n"))
    keep_run(project, "20260102-000000-aaaa", message="run")
    found = reproduce(project, "20260102-000000-aaaa", command=COMMAND, until="ift")
    assert found.notes == ("components/recipe: the version was made by other code than its commit holds (uncommitted changes)",)


@pytest.mark.slow
@pytest.mark.long
def test_what_was_withdrawn_since_is_not_made_again(project):
    add_withdrawals(project, [Withdrawal(id="nobody", time="", who="ann", why="")])
    assert again(project, until="sources").is_equal
    documents = project / "artifacts/sources/documents.jsonl"
    documents.write_text('{"id": "visit-7"}\n')
    workspace = Workspace(project, load_settings(project / "params.yaml"))
    workspace.commit("sources", workspace.input_hashes("sources"))
    keep_run(project, "20260102-000000-aaaa", message="run")
    add_withdrawals(project, [Withdrawal(id="visit-7", time="", who="ann", why="")])
    with pytest.raises(UserError, match=r"what was withdrawn since \(visit-7\)"):
        reproduce(project, "20260102-000000-aaaa", command=COMMAND)


def test_unknown_stages_and_versions_are_refused(project):
    with pytest.raises(UserError, match="no stage 'curate'; stages: sources, ift"):
        again(project, until="curate")
    with pytest.raises(UserError, match="no version is registered yet"):
        reproduce(project, "@champion", command=COMMAND)
