"""The bench of `who-used`: its project is one that `who-used` really answers about."""

from bench.who_used import make_project, measure
from components.provenance.usage import who_used


def test_a_record_of_the_made_project_leads_to_its_samples(tmp_path):
    assert make_project(tmp_path, 100) == 100 + 25 + 25
    answer = who_used(tmp_path, "patient-00000040")
    (holder,) = answer["holders"]
    assert {(item["stage"], item["effect"], item["path"]) for item in holder["sightings"]} == {
        ("pretraining", "trained", "artifacts/curate/documents.jsonl"), ("pretraining", "shaped", "artifacts/holdout/train.jsonl"),
        ("ift", "trained", "artifacts/instructions/samples.jsonl"),
    }  # fmt: skip


def test_it_measures_the_building_and_every_question(tmp_path):
    found = measure(tmp_path, 80)
    assert found["rows"] == 120 and found["build_seconds"] > 0 and found["index_mb"] > 0
    assert set(found["questions"]) == {"a document", "a patient's record", "a sample", "an unknown id", "a patient's record, as `forget` follows it"}
