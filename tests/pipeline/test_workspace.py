"""DVC's view of the fake project: staleness in words, restoring, committing what was really read."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from components.errors import DataError, UserError
from components.pipeline.plan import is_settled, make_plan
from components.pipeline.running import run_stage, stage_function
from components.pipeline.stage_key import stage_inputs, stage_key
from components.pipeline.workspace import LOCK_FILE, Workspace
from components.settings.settings import load_settings


@pytest.fixture
def project(fake_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(fake_project))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(fake_project / "var" / "dvc-site"))
    return fake_project


def open_workspace(project: Path) -> Workspace:
    return Workspace(project, load_settings(project / "params.yaml"))


def run_whole(project: Path) -> list[str]:
    """Run what is stale, in order; return the names of the stages that ran."""
    workspace, ran = open_workspace(project), []
    for name in workspace.graph.names:
        if not workspace.reasons(name) or (workspace.restore(name) is not None):
            continue
        taken = workspace.input_hashes(name)
        run_stage(workspace.graph.row(name), root=project, settings=workspace.settings, function=stage_function(name, "fake_stages:STAGES"))
        workspace.commit(name, taken)
        ran.append(name)
    return ran


@pytest.fixture(scope="module")
def made_once(served_fake_project: Path) -> Path:
    """Return a project whose stages have run, to be copied."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(served_fake_project))
        patched.setenv("DVC_SITE_CACHE_DIR", str(served_fake_project / "var" / "dvc-site"))
        assert run_whole(served_fake_project) == ["sources", "ift", "grpo_general", "evaluate"]
    return served_fake_project


@pytest.fixture
def made(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of the test's own whose stages have run."""
    project = tmp_path / "project"
    shutil.copytree(made_once, project, symlinks=True)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project / "var" / "dvc-site"))
    return project


def set_parameter(project: Path, section: str, key: str, value: object) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values[section][key] = value
    (project / "params.yaml").write_text(yaml.safe_dump(values))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_exactly_the_stages_whose_inputs_changed_run(project):
    assert run_whole(project) == ["sources", "ift", "grpo_general", "evaluate"]
    assert run_whole(project) == []
    assert is_settled(make_plan(open_workspace(project)))
    before = load_settings(project / "params.yaml").grpo_general.kl_weight
    # The KL weight reaches nothing but grpo_general, whose new bytes reach evaluate.
    set_parameter(project, "grpo_general", "kl_weight", 0.0321)
    plan = {stage.name: stage for stage in make_plan(open_workspace(project))}
    assert plan["grpo_general"].reasons == (f"parameter grpo_general.kl_weight changed ({before} → 0.0321)",)
    assert [stage.action for stage in plan.values()] == ["skip", "skip", "run", "maybe"]
    assert run_whole(project) == ["grpo_general", "evaluate"]


def test_a_change_that_makes_equal_bytes_stops_there(made):
    edit(made / "recipes" / "wording.py", "STYLE = 'plain'", "STYLE = 'plain'  # a comment")
    assert open_workspace(made).reasons("sources") == ["recipes/wording.py changed"]
    assert run_whole(made) == ["sources"]  # its documents are the same bytes, so nothing below is stale


def test_a_section_nobody_reads_and_a_file_outside_the_deps_make_nothing_stale(made):
    set_parameter(made, "system", "prefect_port", 4999)
    (made / "README.md").write_text("new")
    (made / "recipes" / "__pycache__").mkdir()
    (made / "data" / "__pycache__").mkdir()
    (made / "data" / "__pycache__" / "x.pyc").write_text("compiled")
    assert is_settled(make_plan(open_workspace(made)))


def test_going_back_to_old_parameters_restores_instead_of_running(made):
    first = (made / "models" / "ift.json").read_bytes()
    parameters = (made / "params.yaml").read_text()
    set_parameter(made, "ift", "optimiser", {"learning_rate": 0.123})
    assert run_whole(made)[0] == "ift"
    assert (made / "models" / "ift.json").read_bytes() != first
    (made / "params.yaml").write_text(parameters)
    assert run_whole(made) == []
    assert (made / "models" / "ift.json").read_bytes() == first


def test_a_missing_or_damaged_output_is_checked_out_again(made):
    (made / "models" / "ift.json").unlink()
    (made / "artifacts" / "sources" / "documents.jsonl").write_text("tampered")
    reasons = open_workspace(made).reasons
    assert reasons("ift") == ["artifacts/sources changed", "output models/ift.json missing"]
    assert reasons("sources") == ["output artifacts/sources changed"]
    assert run_whole(made) == []
    assert (made / "models" / "ift.json").is_file()


def test_a_model_the_store_lost_is_made_again(made):
    workspace = open_workspace(made)
    reference = (made / "models" / "ift.json").read_text()
    shutil.rmtree(made / "var" / "store" / json.loads(reference)["key"])
    assert workspace.reasons("ift") == ["the store no longer holds the model of models/ift.json"]
    assert run_whole(made) == ["ift"]
    assert (made / "models" / "ift.json").read_text() == reference


def test_an_edit_during_the_run_is_not_recorded_as_its_input(made):
    edit(made / "recipes" / "training.py", "FACTOR = 2", "FACTOR = 5")
    (made / "faults.txt").write_text("ift middle edit\n")
    with pytest.raises(UserError, match=r"recipes/training.py changed while stage ift ran"):
        run_whole(made)
    assert "recipes/training.py changed" in open_workspace(made).reasons("ift")
    assert run_whole(made) == ["ift"]
    assert is_settled(make_plan(open_workspace(made)))


def test_a_lock_file_torn_by_a_kill_is_put_back(made):
    lock = made / LOCK_FILE
    lock.write_bytes(lock.read_bytes()[: -len(lock.read_bytes()) // 3] + b"\n  : [broken")
    assert is_settled(make_plan(open_workspace(made)))


def test_a_missing_input_is_named(project):
    (project / "data" / "notes.txt").unlink()
    (project / "data").rmdir()
    with pytest.raises(DataError, match="stage sources reads"):
        open_workspace(project).input_hashes("sources")


@pytest.fixture(params=["outside the project", "inside the project"])
def own_folder(request, project, tmp_path):
    """A folder of the user's that `sources.folder` names, where stage `sources` says that it reads it."""
    edit(project / "dvc.yaml", "params: [run, sources]\n", "params: [run, sources]\n    meta: {folders: [sources.folder]}\n")
    folder = tmp_path / "own" if request.param.startswith("outside") else project / "own"
    folder.mkdir()
    (folder / "documents.jsonl").write_text("first\n")
    run_whole(project)
    set_parameter(project, "sources", "folder", str(folder) if request.param.startswith("outside") else "own")
    return folder


def test_the_bytes_of_a_folder_a_setting_names_make_its_stage_stale(project, own_folder):
    assert run_whole(project) == ["sources"]
    assert is_settled(make_plan(open_workspace(project)))
    (own_folder / "documents.jsonl").write_text("second\n")
    name = own_folder if own_folder.parent != project else "own"
    assert open_workspace(project).reasons("sources") == [f"{name} changed"]
    assert run_whole(project) == ["sources"]
    assert str(name) in open_workspace(project).data_digests()
    assert is_settled(make_plan(open_workspace(project)))
    (own_folder / "documents.jsonl").write_text("first\n")
    assert run_whole(project) == []  # made before from these bytes: restored


def test_the_bytes_of_a_named_folder_are_part_of_the_stages_key(project, own_folder):
    def key() -> str:
        workspace = open_workspace(project)
        return stage_key(stage_inputs(project, workspace.graph.row("sources"), workspace.settings))

    before = key()
    (own_folder / "documents.jsonl").write_text("second\n")
    assert key() != before
    shutil.rmtree(own_folder)
    with pytest.raises(DataError, match=r"own: no such folder; correct sources\.folder in params\.yaml"):
        key()
    assert open_workspace(project).reasons("sources")[-1].endswith("own is missing")
