"""`quarkmed forget` on the real data stages: withdrawn, purged, built again without it; and what the command says and refuses."""

import json
import re
import subprocess

import pytest

from components.layout import DOCUMENTS, RAW_DOCUMENTS, RAW_RECORDS, WITHDRAWN
from components.pipeline.plan import make_plan
from components.pipeline.run_reference import keep_run
from components.pipeline.running import run_stage, stage_function
from components.pipeline.workspace import Workspace
from components.settings.settings import load_settings
from flows import cli
from flows.run_folder import workspace_lock

pytestmark = [pytest.mark.slow, pytest.mark.long]  # real stages, twice
STAGES = ("sources", "curate", "knowledge")
RECORD = "record-asthma-01"
FEWEST_WORDS = 4  # of a sentence that is looked for


def build(project):
    """Bring the data stages up to date as `retrain` does, without its servers; return those that ran."""
    workspace, ran = Workspace(project, load_settings(project / "params.yaml")), []
    for name in STAGES:
        if not workspace.reasons(name) or workspace.restore(name) is not None:
            continue
        taken = workspace.input_hashes(name)
        run_stage(workspace.graph.row(name), root=project, settings=workspace.settings, function=stage_function(name))
        workspace.commit(name, taken)
        ran.append(name)
    return ran


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_project):
    """Return a project whose data stages ran, kept as a run."""
    project = make_project(tmp_path_factory.mktemp("forget") / "project")
    assert build(project) == list(STAGES)
    keep_run(project, "20260101-000000-aaaa", message="run")
    return project


@pytest.fixture
def forget(built, monkeypatch, capsys):
    """Return a runner of the command in this process: forget("record-1", "--purge") → (exit code, what was said)."""

    def run(*arguments, command="forget"):
        monkeypatch.chdir(built)
        monkeypatch.setattr("sys.argv", ["quarkmed", command, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out + told.err

    return run


def own_sentences(project, path, identifier):
    """Return the sentences of a record, as a file has them, that no other row of the raw or curated texts has."""
    rows = [(name, row) for name in (RAW_DOCUMENTS, RAW_RECORDS, DOCUMENTS) for row in map(json.loads, (project / name).read_text().splitlines())]
    others = "\n".join(row["text"] for _, row in rows if row["id"] != identifier)
    (own,) = [row["text"] for name, row in rows if name == path and row["id"] == identifier]
    parts = {part.strip() for part in re.split(r"(?<=[.!?])\s+|\n", own)}
    return sorted(part for part in parts if len(part.split()) >= FEWEST_WORDS and part not in others)


def test_what_is_asked_wrongly_changes_nothing(built, forget):
    assert forget("nobody-77")[0] == 2
    assert forget(RECORD, "--look", "--purge")[0] == 2
    code, said = forget(RECORD, "--look")
    assert code == 0 and "would be withdrawn" in said and "nothing was deleted" in said
    with workspace_lock(built):
        code, said = forget(RECORD)
        assert code == 2 and "another `quarkmed retrain`" in said
    assert (built / WITHDRAWN).read_text() == ""


def test_a_record_is_withdrawn_purged_and_the_next_build_is_without_it(built, forget, holders):
    raw, curated = own_sentences(built, RAW_RECORDS, RECORD), own_sentences(built, DOCUMENTS, RECORD)
    sentences = {*raw, *curated}
    before = holders(built, sentences)
    assert len(raw) >= 2 and len(curated) >= 2 and set(raw) != set(curated) and set().union(*before.values()) == sentences
    assert {RAW_RECORDS, DOCUMENTS} < set(before) and sum(name.startswith("var/dvc-cache/") for name in before) >= 2
    code, said = forget(RECORD, "--why", "letter of 3 May", "--who", "ann@lab")
    assert code == 0 and "the next `quarkmed retrain`: sources, curate, knowledge, holdout" in said and "4 folder" not in said
    assert holders(built, sentences) == before  # marked, and nothing deleted
    code, said = forget(RECORD, "--purge")
    assert code == 2 and "say --yes" in said
    code, said = forget(RECORD, "--purge", "--yes")
    assert code == 0 and "had been withdrawn before" in said and "copies deleted in" in said
    assert holders(built, sentences) == {}
    plan = {stage.name: stage for stage in make_plan(Workspace(built, load_settings(built / "params.yaml")))}
    assert "data/withdrawn.jsonl changed" in plan["sources"].reasons
    assert build(built) == list(STAGES)
    assert holders(built, sentences) == {}
    standing = {json.loads(line)["id"] for line in (built / RAW_RECORDS).read_text().splitlines()}
    assert RECORD not in standing and "record-asthma-00" in standing
    keep_run(built, "20260102-000000-aaaa", message="run")
    code, said = forget(RECORD, "--purge", "--yes")
    assert code == 0 and "nothing is left to purge" in said, said
    kept = subprocess.run(["git", "show", f"refs/quarkmed/runs/20260102-000000-aaaa:{WITHDRAWN}"], cwd=built, capture_output=True, text=True, check=True)
    assert RECORD in kept.stdout  # though nobody has committed it yet
    code, said = forget(RECORD, command="who-used")
    assert code == 0 and "by ann@lab: letter of 3 May" in said and "no data version that can be read holds it now" in said


def test_with_the_index_of_ids_gone_the_journal_still_answers(built, forget):
    forget(RECORD, "--purge", "--yes", "--ids-too")
    code, said = forget(RECORD, command="who-used")
    assert code == 0 and "by ann@lab: letter of 3 May" in said and "copies away; it had been seen by" in said
