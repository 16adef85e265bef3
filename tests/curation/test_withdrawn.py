"""What data/withdrawn.jsonl names is left out by `sources`, and nothing else changes by it."""

import json
from pathlib import Path

import pytest

from components.curation import curate_stage, sources_stage
from components.curation.withdrawn import Withdrawal, add_withdrawals, read_withdrawals
from components.errors import DataError
from components.layout import WITHDRAWN

ROOT = Path(__file__).parents[2]
SMALL = {"sources.diseases": 12, "sources.queries": 40}
FILES = ("documents", "records", "gold_spans", "records_index", "queries", "triples")


def withdrawal(identifier, **fields):
    return Withdrawal(id=identifier, time="2026-01-02T03:04:05Z", who="ann@lab", why="consent withdrawn", **fields)


@pytest.fixture
def project(tmp_path):
    """A project's folder whose list of withdrawn ids is its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "knowledge_base").symlink_to(ROOT / "data" / "knowledge_base")
    (tmp_path / WITHDRAWN).touch()
    return tmp_path


def lines(project, name):
    return (project / "artifacts" / "sources" / f"{name}.jsonl").read_text().splitlines()


def test_the_shipped_list_is_empty():
    assert (ROOT / WITHDRAWN).read_text() == ""


def test_the_rest_of_the_sources_is_line_for_line_what_it_was(project, stage_context):
    sources_stage.run(stage_context("sources", project, SMALL))
    before = {name: lines(project, name) for name in FILES}
    record = json.loads(before["records"][5])["id"]
    document = next(row["id"] for row in map(json.loads, before["documents"]) if not row["id"].endswith(("-copy", "-near")))
    gone = {record, document, "query-00003"}
    add_withdrawals(project, map(withdrawal, gone))
    sources_stage.run(stage_context("sources", project, SMALL))
    for name in FILES:
        assert lines(project, name) == [line for line in before[name] if json.loads(line).get("id") not in gone], name
    assert len(lines(project, "gold_spans")) == len(before["gold_spans"]) - 1 == len(lines(project, "records_index"))


def test_curate_builds_without_the_record(project, stage_context):
    add_withdrawals(project, [withdrawal("record-asthma-01")])
    sources_stage.run(stage_context("sources", project))
    curate_stage.run(stage_context("curate", project))
    text = "".join(path.read_text() for path in (project / "artifacts").rglob("*.json*"))
    assert "record-asthma-01" not in text and "record-asthma-00" in text


def test_of_a_users_folder_goes_what_was_made_from_a_withdrawn_record(project, stage_context):
    folder = project / "mine"
    folder.mkdir()
    notes = [{"id": f"visit-{number}", "type": "dialogue", "text": f"text {number}", "source": "ward", "record_ids": [f"patient-{number % 2}"]} for number in range(4)]
    summary = {"id": "summary-1", "type": "textbook", "text": "of both", "source": "ward", "source_ids": ["visit-1", "visit-2"]}
    spans = [{"id": f"visit-{number}", "spans": []} for number in range(4)]
    queries = [{"id": "q-1", "text": "what", "kind": "tests", "entities": []}]
    for name, rows in {"records": notes, "documents": [summary], "gold_spans": spans, "queries": queries, "triples": []}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_withdrawals(project, [withdrawal("patient-0"), withdrawal("visit-1")])
    sources_stage.run(stage_context("sources", project, {"sources.folder": str(folder)}))
    assert [json.loads(line)["id"] for line in lines(project, "records")] == ["visit-3"]  # 0 and 2 are patient-0's, 1 goes by itself
    assert lines(project, "documents") == [] and len(lines(project, "queries")) == 1
    assert [json.loads(line)["id"] for line in lines(project, "gold_spans")] == ["visit-3"]


def test_lines_are_added_once_and_never_changed(project):
    (project / WITHDRAWN).write_text(withdrawal("first").model_dump_json())  # a line a person typed, without its end
    assert [item.id for item in add_withdrawals(project, [withdrawal("second"), withdrawal("second"), withdrawal("first", repeats="second")])] == ["second"]
    assert add_withdrawals(project, [withdrawal("second")]) == []
    assert [(item.id, item.repeats) for item in read_withdrawals(project / WITHDRAWN)] == [("first", None), ("second", None)]


def test_a_malformed_line_stops_the_stage_and_is_named(project, stage_context):
    (project / WITHDRAWN).write_text(withdrawal("first").model_dump_json() + '\n{"id": ""}\n')
    with pytest.raises(DataError, match=r"withdrawn\.jsonl:2: id: "):
        sources_stage.run(stage_context("sources", project, SMALL))
