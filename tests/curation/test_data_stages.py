"""The stages sources and curate on a small knowledge base: same bytes twice, nothing planted gets through."""

import json

import pytest

from components.curation import curate_stage, sources_stage
from components.errors import DataError
from components.lineage import digest_folder
from components.recorder import read_record

SMALL = {
    "sources.diseases": 12,
    "sources.queries": 40,
    "sources.exact_duplicate_share": 0.1,
    "sources.contradiction_share": 0.1,
}


def _rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def curated(tmp_path_factory, stage_context):
    root = tmp_path_factory.mktemp("project")
    sources_stage.run(stage_context("sources", root, SMALL))
    curate_stage.run(stage_context("curate", root, SMALL))
    return root / "artifacts"


def test_the_same_settings_give_the_same_bytes(tmp_path, stage_context, curated):
    sources_stage.run(stage_context("sources", tmp_path, SMALL))
    curate_stage.run(stage_context("curate", tmp_path, SMALL))
    assert digest_folder(tmp_path / "artifacts") == digest_folder(curated)


def test_no_planted_identifier_survives_in_its_document(curated):
    raw = {row["id"]: row["text"] for row in _rows(curated / "sources" / "records.jsonl")}
    gold = {row["id"]: row["spans"] for row in _rows(curated / "sources" / "gold_spans.jsonl")}
    texts = {row["id"]: row["text"] for row in _rows(curated / "curate" / "documents.jsonl")}
    checked = 0
    for identifier, text in texts.items():
        for span in gold.get(identifier, ()):
            checked += 1
            assert raw[identifier][span["start"] : span["end"]] not in text
    assert checked > 100


def test_every_raw_document_is_kept_or_rejected_with_a_reason(curated):
    raw = [row["id"] for name in ("documents", "records") for row in _rows(curated / "sources" / f"{name}.jsonl")]
    kept = [row["id"] for row in _rows(curated / "curate" / "documents.jsonl")]
    rejected = _rows(curated / "curate" / "rejections.jsonl")
    assert sorted(kept + [row["id"] for row in rejected]) == sorted(raw)
    assert all(row["reason"] and row["filter"] for row in rejected)


def test_planted_defects_are_rejected_and_sound_documents_are_not(curated):
    rejected = {row["id"]: row["filter"] for row in _rows(curated / "curate" / "rejections.jsonl")}
    raw = [row["id"] for row in _rows(curated / "sources" / "documents.jsonl")]
    for identifier in raw:
        if identifier.startswith("noise-"):
            assert identifier in rejected
        elif identifier.endswith("-copy"):
            assert rejected.get(identifier) == "exact_duplicate"
        elif not identifier.endswith("-near") and not identifier.startswith("contradiction-"):
            assert identifier not in rejected, rejected[identifier]


def test_contradictions_are_dropped_or_graded_e(curated):
    rejected = {row["id"] for row in _rows(curated / "curate" / "rejections.jsonl") if row["filter"] == "contradiction"}
    kept = {
        row["id"]: row["authority"]
        for row in _rows(curated / "curate" / "documents.jsonl")
        if row["id"].startswith("contradiction-")
    }
    report = json.loads((curated / "curate" / "report.json").read_text(encoding="utf-8"))
    denied = {row["id"] for row in report["contradictions"]}
    assert len(denied) >= 10  # of 14 planted: some speak of drugs that no insert of this small set is about
    assert denied <= rejected | set(kept)
    assert rejected
    assert {kept[identifier] for identifier in denied - rejected} == {"E"}


def test_lineage_follows_records_and_merged_copies(curated):
    documents = _rows(curated / "curate" / "documents.jsonl")
    assert all(row["source_ids"] for row in documents)
    assert all(row["record_ids"] == [row["id"]] for row in documents if row["id"].startswith("record-"))
    assert any(source.endswith("-copy") for row in documents for source in row["source_ids"])


def test_the_record_ends_with_recall_on_the_gold_spans(curated):
    summary = [entry for entry in read_record(curated.parent / "records" / "curate") if entry["kind"] == "summary"][-1][
        "values"
    ]
    assert summary["identifier_recall"] >= 0.99
    assert summary["identifier_precision"] >= 0.97


def test_a_users_folder_takes_the_place_of_the_knowledge_base(tmp_path, stage_context):
    folder = tmp_path / "mine"
    folder.mkdir()
    text = "Gout is a disease of the joints and the treatment of acute pain begins with colchicine."
    (folder / "documents.jsonl").write_text(
        json.dumps({"id": "d1", "type": "guideline", "text": text, "source": "me"}) + "\n"
    )
    for name in ("records", "triples", "queries"):
        (folder / f"{name}.jsonl").write_text("")
    settings = {"sources.folder": str(folder)}
    sources_stage.run(stage_context("sources", tmp_path, settings))
    curate_stage.run(stage_context("curate", tmp_path, settings))
    assert [row["text"] for row in _rows(tmp_path / "artifacts" / "curate" / "documents.jsonl")] == [text]


def test_a_missing_users_folder_is_one_clear_error(tmp_path, stage_context):
    with pytest.raises(DataError, match=r"no such folder; correct sources\.folder"):
        sources_stage.run(stage_context("sources", tmp_path, {"sources.folder": "nowhere"}))
