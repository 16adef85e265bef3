"""Bad input through the real command line: one message that says where and what to do, exit code 2, nothing touched."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

USER_SOURCES = {
    "documents": {"id": "d1", "type": "textbook", "text": "Asthma is a disease of the airways.", "source": "book"},
    "records": {"id": "r1", "type": "dialogue", "text": "Doctor: Hello, Mr. Smith.", "source": "clinic"},
    "triples": {"subject": "asthma", "predicate": "has_symptom", "object": "wheeze", "subject_type": "disease", "object_type": "symptom"},
    "queries": {"id": "q1", "text": "what is asthma", "kind": "symptoms", "entities": ["asthma"]},
    "gold_spans": {"id": "r1", "spans": [{"start": 19, "end": 24, "type": "NAME"}]},
}


@pytest.fixture
def project(linked_project: Path) -> Path:
    """A project in which stages `sources` and `ift` have outputs of an earlier run."""
    for path in ("artifacts/sources/documents.jsonl", "models/ift.json"):
        (linked_project / path).parent.mkdir(parents=True, exist_ok=True)
        (linked_project / path).write_text("of an earlier run\n")
    return linked_project


@pytest.fixture
def refused(project, forked):
    """Return a check: the command ends with code 2 and exactly one message, and every output is as it was; returns the message."""

    def check(*arguments: str) -> str:
        before = outputs(project)
        done = forked(project, "quarkmed", *arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.startswith("quarkmed: ") and done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert outputs(project) == before
        return done.stderr.strip()

    return check


def outputs(project: Path) -> dict[str, bytes]:
    files = [path for folder in ("artifacts", "models") for path in (project / folder).rglob("*") if path.is_file()]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def user_folder(project: Path) -> Path:
    folder = project / "own"
    folder.mkdir()
    for name, row in USER_SOURCES.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("diseases: 12", "diseasees: 12", "sources.diseasees: unknown key; did you mean sources.diseases?"),
        ("diseases: 12", "diseases: 3", "sources.diseases: Input should be greater than or equal to 8 (found 3)"),
        ("diseases: 12", "diseases: \udc80", "params.yaml: not UTF-8"),
    ],
)
def test_a_bad_parameter_is_named_with_its_key(project, refused, old, new, said):
    path = project / "params.yaml"
    path.write_bytes(path.read_text().replace(old, new, 1).encode(errors="surrogateescape"))
    assert said in refused("stage", "sources")


@pytest.mark.parametrize("name", USER_SOURCES)
def test_a_malformed_line_of_a_users_source_is_named(project, refused, set_parameters, name):
    folder = user_folder(project)
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('\n{"id": "x",\n')  # an empty line is allowed and counts
    set_parameters(project, sources__folder="own")
    assert f"own/{name}.jsonl:3: not valid JSON" in refused("stage", "sources")


def test_a_line_in_another_encoding_is_named(project, refused, set_parameters):
    with (user_folder(project) / "documents.jsonl").open("ab") as stream:
        stream.write('{"id": "d2", "type": "web", "text": "Fièvre", "source": "s"}\n'.encode("latin-1"))
    set_parameters(project, sources__folder="own")
    assert "own/documents.jsonl:2: not UTF-8" in refused("stage", "sources")


@pytest.mark.parametrize(
    ("old", "new", "said"), [("age_years: [", "age_years: ]", "not valid YAML"), ("age_years:", "age_yeers:", "age_yeers: Extra inputs are not permitted")]
)
def test_a_malformed_line_of_the_knowledge_base_is_named(project, refused, old, new, said):
    shutil.copytree((project / "data").resolve(), project / "copied")
    (project / "data").unlink()
    (project / "copied").rename(project / "data")
    path = sorted((project / "data/knowledge_base").glob("diseases_*.yaml"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    message = refused("stage", "sources")
    line = text[: text.index(old)].count("\n") + 1
    assert f"{path}:{line}: " in message and said in message


def test_a_missing_file_is_named(project, refused, set_parameters):
    set_parameters(project, sources__folder="nowhere")
    assert "nowhere: no such folder; correct sources.folder in params.yaml" in refused("stage", "sources")
    (user_folder(project) / "triples.jsonl").unlink()
    set_parameters(project, sources__folder="own")
    assert "own/triples.jsonl: no such file" in refused("stage", "sources")
    assert "models/base.json: no such file or folder, but stage ift reads it" in refused("stage", "ift")
    assert "no stage 'ifd'; stages: sources, curate" in refused("stage", "ifd")


@pytest.mark.slow
def test_retrain_refuses_a_malformed_source_and_keeps_what_it_made_before(undisturbed, tmp_path, quarkmed):
    project = tmp_path / "whole"
    shutil.copytree(undisturbed, project, symlinks=True)
    folder, parameters = user_folder(project), (project / "params.yaml").read_text()
    (folder / "queries.jsonl").write_text("[]\n")
    values = yaml.safe_load(parameters)
    values["sources"]["folder"] = "own"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    before = outputs(project)
    done = quarkmed(project, "retrain")
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("quarkmed: ") and done.stderr.count("\n") == 1
    assert "own/queries.jsonl:1: expected a JSON object, found list" in done.stderr
    assert outputs(project) == before
    (project / "params.yaml").write_text(parameters)
    assert quarkmed(project, "retrain").stdout.startswith("Nothing to do")
