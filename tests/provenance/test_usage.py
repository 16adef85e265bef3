"""`quarkmed who-used`: every version that saw an id, in which stage and file, and what cannot be told."""

import json
import shutil

import pytest

from components.errors import UserError
from components.provenance.executions import reached_by
from components.provenance.usage import who_used
from components.provenance.uses import USES

TRAINED = ("trained", "perhaps", "unknown")
FOLDER = "the folder's models (not registered)"


def seen_by(answer, *, effects):
    """Return the names of the holders one of whose models has one of the effects."""
    return [holder["name"] for holder in answer["holders"] if set(holder["effects"].values()) & set(effects)]


def sightings(answer, name):
    holder = next(item for item in answer["holders"] if item["name"] == name)
    return {(item["stage"], item["effect"], item["path"], item["rows"]) for item in holder["sightings"]}


def test_a_withdrawn_record_is_found_in_the_version_that_saw_it_and_not_in_the_one_made_without(two_versions):
    answer = who_used(two_versions.root, "patient-9")
    assert sightings(answer, "version 1") == {("pretraining", "trained", "artifacts/curate/documents.jsonl", 1)}
    assert sightings(answer, "version 2") == set()
    assert seen_by(answer, effects=TRAINED) == ["version 1"]
    stands = {(item["path"], item["kinds"], item["own"]) for item in answer["stands"]}
    assert stands == {("artifacts/sources/records.jsonl", ("record",), ("visit-7",)), ("artifacts/curate/documents.jsonl", ("own", "record"), ("visit-7",))}
    assert all(item["in_lineage_of"] == ["version 1"] for item in answer["stands"])


def test_a_document_is_followed_through_the_document_it_was_merged_into_to_cases_and_samples(two_versions):
    answer = who_used(two_versions.root, "book-2")
    assert sightings(answer, "version 2") == {
        ("pretraining", "trained", "artifacts/curate/documents.jsonl", 1),  # book-1, which repeats it
        ("pretraining", "shaped", "artifacts/holdout/train.jsonl", 1),
        ("ift", "trained", "artifacts/instructions/samples.jsonl", 1),
        ("grpo_general", "chose", "artifacts/holdout/validation.jsonl", 1),
    }
    assert seen_by(answer, effects=TRAINED) == ["version 1", "version 2"]
    own = {item["path"]: item["own"] for item in answer["stands"]}
    assert own["artifacts/instructions/samples.jsonl"] == ("instruction-case-1",)
    assert own["artifacts/sources/documents.jsonl"] == ("book-2",)  # not book-1: nothing raw is made of it


def test_a_document_that_was_refused_was_seen_by_no_model(two_versions):
    answer = who_used(two_versions.root, "advert-1")
    assert answer["rejected_by"] == ["boilerplate"] and seen_by(answer, effects=TRAINED) == []
    assert all(not holder["sightings"] for holder in answer["holders"])


def test_what_only_measures_is_not_training(two_versions):
    answer = who_used(two_versions.root, "case-4")
    assert sightings(answer, "version 1") == {("evaluate", "measured", "artifacts/holdout/test.jsonl", 1), ("instructions", "shaped", "artifacts/holdout/test.jsonl", 1)}
    assert seen_by(answer, effects=TRAINED) == []


def test_a_data_version_is_found_by_its_first_digits_with_all_that_was_made_from_it(two_versions):
    md5 = two_versions.md5("artifacts/curate/documents.jsonl")
    answer = who_used(two_versions.root, md5[:10])
    assert (answer["kind"], answer["md5"]) == ("data version", md5)
    assert sightings(answer, "version 1") == set()
    seen = sightings(answer, "version 2")
    assert ("pretraining", "trained", "artifacts/curate/documents.jsonl", 2) in seen and ("ift", "trained", "artifacts/instructions/samples.jsonl", 2) in seen
    kinds = {item["path"]: item["kinds"] for item in answer["stands"]}
    assert kinds["artifacts/curate/documents.jsonl"] == ("itself",) and kinds["artifacts/holdout/train.jsonl"] == ("made from it",)
    assert "artifacts/sources/documents.jsonl" not in kinds


def test_a_folders_version_counts_with_its_files(two_versions):
    answer = who_used(two_versions.root, two_versions.md5("artifacts/holdout"))
    assert {("ift", "trained", "artifacts/instructions/samples.jsonl", 2), ("grpo_general", "chose", "artifacts/holdout/validation.jsonl", 1)} <= sightings(answer, "version 2")


def test_a_file_its_folders_reader_does_not_read_is_not_made_into_anything(two_versions):
    triples = "artifacts/sources/triples.jsonl"  # curate depends on the folder and leaves this file alone
    assert ("curate", triples) in USES and USES["curate", triples].effect == "none"
    answer = who_used(two_versions.root, two_versions.md5(triples))
    assert {item["path"] for item in answer["stands"]} == {triples} and seen_by(answer, effects=TRAINED) == []


def test_where_the_data_do_not_say_the_answer_says_so(two_versions):
    gaps = who_used(two_versions.root, "patient-9")["cannot_tell"]
    assert any(words.startswith("holdout: the combination of features a record shows") for words in gaps)
    assert not any(words.startswith("holdout: the comb") for words in who_used(two_versions.root, "book-1")["cannot_tell"])


@pytest.fixture
def unfinished(plain):
    """Return a project with no kept run and no candidate: what is asked is what lies in its folder."""
    shutil.rmtree(plain.root / ".git" / "refs" / "quarkmed")
    (plain.root / "models/grpo_general.json").unlink()
    del plain.stages["grpo_general"], plain.stages["evaluate"]
    return plain


def test_what_documents_kept_out_is_told_exactly_and_nothing_is_left_to_guess(unfinished):
    unfinished.write("artifacts/knowledge/sentences.jsonl", [{"text": "…", "triple": ["croup", "treated_with", "dexamethasone"]}])
    unfinished.stage("knowledge", reads=["artifacts/curate/documents.jsonl", "artifacts/sources/triples.jsonl"], makes=["artifacts/knowledge"])
    unfinished.stage("pretraining", reads=["artifacts/curate/documents.jsonl", "artifacts/holdout", "artifacts/knowledge/sentences.jsonl"], makes=["models/base.json"])
    unfinished.lock()
    trained = ("pretraining", "trained", "artifacts/curate/documents.jsonl", 1)
    before = who_used(unfinished.root, "patient-8")
    assert sightings(before, FOLDER) == {trained} and {words.partition(":")[0] for words in before["cannot_tell"]} == {"knowledge", "holdout"}
    unfinished.write("artifacts/holdout/kept_out.jsonl", [{"id": "reserved-1", "why": "record", "source_ids": ["visit-8"], "split": "test", "case_ids": ["case-2"]}])
    unfinished.write("artifacts/knowledge/covering.jsonl", [{"point": "treated_with:croup:dexamethasone", "source_ids": ["visit-8"]}])
    unfinished.lock()
    told = who_used(unfinished.root, "patient-8")
    kept = {("holdout", "shaped", "artifacts/holdout/kept_out.jsonl", 1), ("knowledge", "shaped", "artifacts/knowledge/covering.jsonl", 1)}
    assert sightings(told, FOLDER) == {trained, *kept} and told["cannot_tell"] == []  # neither the sentence of the point nor case-2 came of it
    assert {stage for stage, *_ in sightings(who_used(unfinished.root, "book-1"), FOLDER)} & {"holdout", "knowledge"} == set()


@pytest.fixture
def replaying(unfinished):
    """Return a project in whose folder cold_start replayed one sample of two."""
    unfinished.write("artifacts/answers/samples.jsonl", [{"id": "answer-1", "case_id": "case-1"}, {"id": "answer-2", "case_id": "case-2"}])
    unfinished.write("artifacts/cold_start/samples.jsonl", [])
    unfinished.write("artifacts/cold_start/replayed.jsonl", [{"id": "answer-1"}])
    unfinished.publish("sft", "sft")
    unfinished.publish("cold_start", "cold start")
    unfinished.stage("answers", reads=["artifacts/instructions"], makes=["artifacts/answers"])
    unfinished.stage("cold_start", reads=["models/sft.json", "artifacts/answers/samples.jsonl"], makes=["artifacts/cold_start", "models/cold_start.json"])
    unfinished.lock()
    return unfinished


def test_a_sample_that_was_replayed_is_told_from_one_that_was_not(replaying):
    def seen(asked):
        (holder,) = who_used(replaying.root, asked)["holders"]
        return {(item["effect"], item["path"]) for item in holder["sightings"] if item["stage"] == "cold_start"}

    assert seen("case-1") == {("trained", "artifacts/cold_start/replayed.jsonl")} and seen("case-2") == set()
    replayed = replaying.root / "artifacts/cold_start/replayed.jsonl"
    kept = replaying.cached(replaying.md5("artifacts/cold_start/replayed.jsonl"))
    shutil.rmtree(replaying.root / "var/lineage")
    kept.unlink()
    replayed.unlink()
    assert seen("case-2") == {("perhaps", "artifacts/answers/samples.jsonl")}  # what cannot be read tells nothing
    replaying.lock()  # an older run, whose cold_start made no such file
    assert seen("case-1") == seen("case-2") == {("perhaps", "artifacts/answers/samples.jsonl")}


def test_a_model_is_purged_for_a_sample_it_replayed_and_not_for_one_it_passed_by(replaying):
    assert ["cold_start"] in reached_by(replaying.root, ["case-1"]).models.values()
    assert ["cold_start"] not in reached_by(replaying.root, ["case-2"]).models.values()


def test_a_stage_nobody_described_counts_as_having_seen_it(copied):
    copied.write("artifacts/extra/rows.jsonl", [{"id": "extra-1", "source_ids": ["book-1"]}])
    copied.publish("base", "base 3")
    copied.publish("ift", "ift 3", parent="base")
    copied.publish("grpo_general", "grpo 3", parent="ift")
    copied.stage("extra", reads=["artifacts/curate/documents.jsonl"], makes=["artifacts/extra"])
    copied.stage("ift", reads=["models/base.json", "artifacts/extra", "artifacts/instructions"], makes=["models/ift.json"])
    copied.lock()
    answer = who_used(copied.root, "book-2")
    assert ("ift", "unknown", "artifacts/extra/rows.jsonl", 1) in sightings(answer, "the folder's models (not registered)")


def test_equal_line_numbers_of_rows_without_ids_are_no_link(plain):
    plain.write("artifacts/first/rows.jsonl", [{"source_ids": ["book-2"]}])
    plain.write("artifacts/second/rows.jsonl", [{"source_ids": ["visit-8"]}])
    plain.stage("first", reads=["artifacts/curate/documents.jsonl"], makes=["artifacts/first"])
    plain.stage("ift", reads=["artifacts/first", "models/base.json"], makes=["artifacts/second", "models/ift.json"])
    plain.keep("20260101-000000-aaaa")
    paths = {item["path"] for item in who_used(plain.root, "book-2")["stands"]}
    assert "artifacts/first/rows.jsonl" in paths and "artifacts/second/rows.jsonl" not in paths


def test_a_model_made_from_an_older_version_of_a_file_has_seen_that_version(plain):
    (plain.root / "models/grpo_general.json").unlink()  # a run at work: nothing registered yet
    before = plain.md5("artifacts/curate/documents.jsonl")
    plain.write("artifacts/curate/documents.jsonl", [{"id": "book-1", "source_ids": []}])
    del plain.stages["grpo_general"], plain.stages["evaluate"]
    plain.lock()
    lock = plain.root / "dvc.lock"
    after = plain.md5("artifacts/curate/documents.jsonl")
    lock.write_text(lock.read_text().replace(after, before))  # pretraining and holdout read the older one; curate's folder is the newer
    assert ("pretraining", "trained", "artifacts/curate/documents.jsonl", 1) in sightings(who_used(plain.root, "patient-8"), "the folder's models (not registered)")


def test_a_version_whose_run_is_lost_is_named_and_not_passed_over(copied):
    shutil.rmtree(copied.root / ".git")
    answer = who_used(copied.root, "book-1")  # the project's own dvc.lock still explains version 2
    assert [holder["name"] for holder in answer["holders"]] == ["version 2"]
    assert answer["cannot_tell"][0] == "version 1: no kept run and no dvc.lock holds its model"


def test_an_unknown_id_is_refused_and_is_no_proof_where_something_could_not_be_read(copied):
    with pytest.raises(UserError, match=r"no data version of 2 lineages holds 'patient-77' as an id, and no data version begins so"):
        who_used(copied.root, "patient-77")
    shutil.rmtree(copied.root / "var/lineage")
    shutil.rmtree(copied.root / "var/dvc-cache")
    shutil.rmtree(copied.root / "artifacts")
    with pytest.raises(UserError, match=r"not all could be read, so this is no proof: .*dvc pull"):
        who_used(copied.root, "patient-9")


def test_digits_that_begin_several_versions_are_refused(two_versions, monkeypatch):
    import components.provenance.usage as usage

    monkeypatch.setattr(usage, "DIGEST", usage.re.compile(r"[0-9a-f]{1,32}(\.dir)?"))
    with pytest.raises(UserError, match="several data versions begin so"):
        for letter in "0123456789abcdef":
            who_used_or_pass(two_versions.root, letter)


def who_used_or_pass(root, letter):
    try:
        who_used(root, letter)
    except UserError as error:
        if "several" in str(error):
            raise


def test_the_command_prints_tables_or_json_and_refuses_with_exit_code_2(two_versions, quarkmed, tmp_path):
    told = quarkmed(two_versions.root, "who-used", "patient-9")
    assert told.returncode == 0, told.stderr
    assert "patient-9: in what version 1 (previous_champion) was trained on" in told.stdout
    assert "version 2 (champion): saw nothing of it" in told.stdout and "cannot tell" in told.stdout
    assert json.loads(quarkmed(two_versions.root, "who-used", "advert-1", "--json").stdout)["rejected_by"] == ["boilerplate"]
    refused = quarkmed(two_versions.root, "who-used", "nobody")
    assert (refused.returncode, refused.stdout) == (2, "") and "check the spelling" in refused.stderr and "Traceback" not in refused.stderr
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(two_versions.root / name, tmp_path / name)
    empty = quarkmed(tmp_path, "who-used", "book-1")
    assert empty.returncode == 2 and "no run was kept" in empty.stderr and not (tmp_path / "var").exists()
