"""`quarkmed explain`: everything a version was made from, and what is said where records are missing or disagree."""

import json
import shutil
import subprocess

import pytest

from components import layout
from components.errors import UserError
from components.provenance.explanation import explain_version
from components.provenance.kept_lineage import REFERENCE, KeptLineages
from components.registry.decision import CANDIDATE
from components.tracking.tracking_store import open_client


def test_the_candidate_is_the_one_the_registry_registers():
    assert layout.MODELS[CANDIDATE] == REFERENCE


@pytest.mark.parametrize("wanted", ["models:/quarkmed@champion", "models:/quarkmed/2", "@champion", "champion", "2"])
def test_a_version_is_found_by_every_name(two_versions, wanted):
    assert explain_version(two_versions.root, wanted)["version"] == "2"


def test_everything_of_the_older_version_is_of_its_own_run(two_versions):
    told = explain_version(two_versions.root, "1", reads_bytes=True)
    kept = KeptLineages(two_versions.root).runs["20260101-000000-aaaa"]
    assert (told["aliases"], told["notes"]) == (["previous_champion"], [])
    assert told["run"]["id"] == kept.run and told["run"]["kept_commit"] == kept.commit
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=two_versions.root, capture_output=True, text=True, check=True).stdout.strip()
    assert told["run"]["git_commit"] == head
    assert [stage["name"] for stage in told["stages"]] == ["curate", "holdout", "pretraining", "instructions", "ift", "grpo_general"]  # evaluate made nothing of it
    assert {stage["name"]: stage["parameters"] for stage in told["stages"]}["pretraining"] == {"run": {"seed": 20}, "model": {"layers": 2}}
    old = subprocess.run(["git", "show", f"{kept.commit}:dvc.lock"], cwd=two_versions.root, capture_output=True, text=True, check=True).stdout
    documents = next(item for item in told["data"] if item["path"] == "artifacts/curate/documents.jsonl")
    assert documents["md5"] in old and documents["md5"] != two_versions.md5("artifacts/curate/documents.jsonl")
    assert (documents["made_by"], documents["read_by"]) == ("curate", ["holdout", "pretraining"])
    assert [item["path"] for item in told["code"]] == ["components/curation"]


def test_parents_lead_back_to_the_base_though_two_models_have_the_same_bytes(two_versions):
    told = explain_version(two_versions.root, "1", reads_bytes=True)
    assert [(item["path"], item["stage"], item["stored"]) for item in told["models"]] == [
        ("models/grpo_general.json", "grpo_general", "as published"), ("models/ift.json", "ift", "as published"), ("models/base.json", "pretraining", "as published"),
    ]  # fmt: skip
    digests = [item["digest"] for item in told["models"]]
    assert digests[0] == told["checksum"] and digests[1] == digests[2]
    assert [item["parent"] for item in told["models"]] == [digests[1], digests[2], None]


def test_every_stage_names_its_run_in_mlflow(two_versions):
    told = explain_version(two_versions.root, "2")
    client = open_client(two_versions.root)
    for stage in told["stages"]:
        run = client.get_run(stage["mlflow_run"])
        assert run.data.tags["quarkmed.stage"] == stage["name"] and run.data.tags["quarkmed.stage_key"] == stage["stage_key"]
        assert all(run.data.tags[f"quarkmed.output.{path}"] == md5 for path, md5 in stage["outputs"].items())
    assert client.get_run(told["run"]["mlflow_run"]).data.tags["quarkmed.run"] == "20260102-000000-aaaa"


def test_the_journal_says_who_made_it_champion(two_versions):
    told = explain_version(two_versions.root, "2")
    assert [(item["kind"], item["who"], item["champion_before"], item["reasons"]) for item in told["promotion"]] == [
        ("PREPARED", "ann@desk", "1", ["better in 20260102-000000-aaaa"]), ("COMMITTED", "ann@desk", "1", ["better in 20260102-000000-aaaa"]),
    ]  # fmt: skip


def test_damaged_and_missing_bytes_are_named(copied):
    store = copied.root / "var/store/models"
    told = explain_version(copied.root, "2")
    (store / told["models"][0]["digest"][:32] / "model.safetensors").write_text("other")
    shutil.rmtree(store / told["models"][2]["digest"][:32])
    states = [item["stored"] for item in explain_version(copied.root, "2", reads_bytes=True)["models"]]
    assert states == ["damaged", "missing", "missing"]


def test_without_a_kept_run_the_version_is_explained_by_its_tags_and_that_is_said(copied):
    shutil.rmtree(copied.root / ".git")
    (copied.root / "dvc.lock").unlink()
    told = explain_version(copied.root, "1")
    assert told["models"] == [] and "stages, parameters and parents are unknown" in told["notes"][0]
    assert next(item["md5"] for item in told["data"] if item["path"] == "artifacts/sources").endswith(".dir")


def test_without_git_the_present_lock_explains_the_version_it_made(copied):
    shutil.rmtree(copied.root / ".git")
    told = explain_version(copied.root, "2")
    assert told["run"]["kept_as"] == "dvc.lock" and len(told["models"]) == 3


def test_an_alias_that_the_journal_denies_is_said(copied):
    open_client(copied.root).set_registered_model_alias("quarkmed", "champion", "1")
    assert "the alias champion names version 1, the journal says 2" in " ".join(explain_version(copied.root, "@champion")["notes"])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("7", "no version or alias '7'; versions: 1 to 2"), ("models:/other@champion", "no version of 'other'"), ("models:/quarkmed", "names no version")],
)
def test_an_unknown_version_is_one_message(two_versions, wanted, said):
    with pytest.raises(UserError, match=said):
        explain_version(two_versions.root, wanted)


def test_the_command_prints_tables_or_json_and_refuses_with_exit_code_2(two_versions, quarkmed, tmp_path):
    table = quarkmed(two_versions.root, "explain", "models:/quarkmed@champion")
    assert table.returncode == 0, table.stderr
    assert "quarkmed version 2 (champion)" in table.stdout and two_versions.md5("artifacts/instructions") in table.stdout
    assert json.loads(quarkmed(two_versions.root, "explain", "--json").stdout)["version"] == "2"
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(two_versions.root / name, tmp_path / name)
    refused = quarkmed(tmp_path, "explain")
    assert (refused.returncode, refused.stdout) == (2, "") and "no version is registered yet" in refused.stderr
    assert not (tmp_path / "var").exists()
