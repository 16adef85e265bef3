"""One stage's run: its key, its work folder, what an interruption leaves and what is taken over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.errors import DataError, SettingsError
from components.pipeline.graph import StageGraph, StageRow, load_graph
from components.pipeline.running import execute_stage, finished_run, run_stage, stage_function
from components.pipeline.stage_key import stage_inputs, stage_key
from components.recorder import read_record
from components.settings.settings import load_settings

ROW = StageRow("ift", ("run", "ift"), ("input.txt",), ("out.txt",))


class Interrupted(Exception):
    """Stands for a kill in the middle of a stage."""


@pytest.fixture
def project(fake_project: Path) -> Path:
    (fake_project / "input.txt").write_text("one")
    return fake_project


def key_of(project: Path) -> str:
    return stage_key(stage_inputs(project, ROW, load_settings(project / "params.yaml")))


def run(project: Path, function):
    return run_stage(ROW, root=project, settings=load_settings(project / "params.yaml"), function=function)


def write_out(context) -> None:
    context.recorder.metrics({"loss": 1.0}, step=1)
    context.write("out.txt").write_text("done")


def test_the_key_follows_inputs_and_named_parameters_only(project):
    first = key_of(project)
    (project / "data" / "notes.txt").write_text("not an input")
    assert key_of(project) == first
    (project / "input.txt").write_text("two")
    second = key_of(project)
    assert second != first
    values = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**values, "run": {**values["run"], "seed": values["run"]["seed"] + 1}}))
    assert key_of(project) not in (first, second)


def test_an_ended_stage_is_taken_over_and_not_run_again(project):
    first = run(project, write_out)
    assert not first.is_resumed

    def never(context):
        raise AssertionError("ran again")

    again = run(project, never)
    assert (again.key, again.is_resumed) == (first.key, True)
    (project / "out.txt").write_text("tampered")
    assert finished_run(project, ROW, first.key) is None


def test_the_record_of_an_attempt_that_was_not_resumed_is_not_counted_twice(project):
    def interrupted(context):
        context.recorder.metrics({"loss": 9.0}, step=1)
        context.checkpoints.folder.mkdir(parents=True)
        (context.checkpoints.folder / "unfinished").write_text("")
        raise Interrupted

    with pytest.raises(Interrupted):
        run(project, interrupted)
    done = run(project, write_out)
    losses = [entry["values"]["loss"] for entry in read_record(Path(done.folder)) if entry["kind"] == "metrics"]
    assert losses == [1.0]


def test_a_resumed_stage_keeps_the_lines_up_to_its_checkpoint(project):
    def interrupted(context):
        context.recorder.metrics({"loss": 9.0}, step=1)
        context.checkpoints.save(1, tensors={}, state={"position": context.recorder.position()})
        context.recorder.metrics({"loss": 8.0}, step=2)
        raise Interrupted

    def resume(context):
        checkpoint, _ = context.checkpoints.latest()
        context.recorder.rewind(checkpoint.state["position"], step=checkpoint.step)
        context.recorder.metrics({"loss": 7.0}, step=2)
        context.write("out.txt").write_text("done")

    with pytest.raises(Interrupted):
        run(project, interrupted)
    done = run(project, resume)
    assert done.is_resumed
    losses = [entry["values"]["loss"] for entry in read_record(Path(done.folder)) if entry["kind"] == "metrics"]
    assert losses == [9.0, 7.0]
    assert not (Path(done.folder) / "checkpoints").exists()


def test_a_stage_that_writes_less_than_it_declares_is_refused(project):
    with pytest.raises(DataError, match=r"ended without writing out\.txt"):
        run(project, lambda context: None)
    assert finished_run(project, ROW, key_of(project)) is None


def test_outputs_of_an_older_run_do_not_stay_among_the_new(project):
    row = StageRow("ift", ("run", "ift"), ("input.txt",), ("folder",))
    (project / "folder").mkdir()
    (project / "folder" / "old").write_text("old")
    settings = load_settings(project / "params.yaml")
    run_stage(row, root=project, settings=settings, function=lambda context: context.write("folder/new").write_text("new"))
    assert [path.name for path in (project / "folder").iterdir()] == ["new"]


def test_unknown_stages_and_missing_inputs_are_named(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    with pytest.raises(SettingsError, match="no stage 'nope'; stages: sources"):
        execute_stage("nope", root=str(project), table="fake_stages:STAGES")
    with pytest.raises(SettingsError, match="has no function for it"):
        stage_function("nope", "fake_stages:STAGES")
    (project / "input.txt").unlink()
    with pytest.raises(DataError, match=r"input\.txt: no such file or folder, but stage ift reads it"):
        run(project, write_out)


def test_stages_are_ordered_makers_first_and_circles_refused(project):
    text = (project / "dvc.yaml").read_text()
    rows = text.removeprefix("stages:\n").split("  evaluate:")
    (project / "dvc.yaml").write_text("stages:\n  evaluate:" + rows[1].rstrip() + "\n" + rows[0])
    graph = load_graph(project)
    assert graph.names == ("sources", "ift", "grpo_general", "evaluate")
    assert graph.upstream("evaluate") == ("ift", "grpo_general")
    (project / "dvc.yaml").write_text("stages:\n  a: {cmd: x, deps: [p], outs: [q]}\n  b: {cmd: x, deps: [q], outs: [p]}\n")
    with pytest.raises(SettingsError, match="in a circle: a, b"):
        load_graph(project)


def test_a_stage_runs_where_prefect_mlflow_and_dvc_cannot_be_imported(project):
    code = (
        "import sys\n"
        "for name in ('prefect', 'mlflow', 'dvc'): sys.modules[name] = None\n"
        "from components.pipeline.running import execute_stage\n"
        f"print(execute_stage('sources', root={str(project)!r}, table='fake_stages:STAGES')['name'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "sources"
    assert json.loads((project / "artifacts" / "sources" / "documents.jsonl").read_text().splitlines()[0]) == {"text": "first"}


def test_the_graph_of_the_repository_orders_all_stages():
    graph = load_graph(Path(__file__).resolve().parents[2])
    assert isinstance(graph, StageGraph)
    assert graph.names[0] == "sources" and graph.names[-1] == "evaluate"
