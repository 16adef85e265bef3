"""Model cards: made from records, whole as an artifact, in short as a description, silent about what no record holds."""

import subprocess
from dataclasses import replace

import pytest

from components.launch.gpu_hours import PodTime, open_ledger
from components.registry.assessment import assess_version
from components.registry.card_content import card_content
from components.registry.card_keeping import keep_card, read_card
from components.registry.model_card import CardContent, Decision, model_card, short_card
from components.registry.version_reading import find_version
from components.registry.weaknesses import weakest_tasks
from components.settings.settings import load_settings
from components.tracking.tracking_store import open_client

RUN = "20260102-000000-bbbb"


def content(project, version):
    return card_content(project.root, find_version(open_client(project.root), version, model="quarkmed"), project.journal.entries("quarkmed"))


def test_a_card_says_what_the_records_say(project):
    found = content(project, "2")
    assert found.data == {"artifacts/holdout": "0123.dir"} and found.lineage["git_sha"] == "c0ffee"
    assert found.licences["data/knowledge_base"] == "part of the project: Apache License, Version 2.0, January 2004"
    assert "learning_rate" in found.recipe["grpo_general"] and found.recipe["run"] == "seed=20, threads=2"
    assert found.costs == {"CPU-hours": "not measured", "GPU-hours": "not measured: no pod of a cluster worked in this run", "energy": "not measured"}
    card = model_card(found)
    assert card.startswith("# quarkmed version 2\n") and "Not judged yet." in card and "not a medical device" in card


def test_gpu_hours_are_those_of_the_runs_pods(project):
    pod = PodTime("p", "u1", "n", RUN, "ift", "k", 1, 4, 0.0, 5400.0, True)  # 4 GPUs for an hour and a half
    open_ledger(project.root).note([pod, replace(pod, uid="u2", run="another")])
    assert content(project, "2").costs["GPU-hours"] == f"6.00 of 1 pods in run {RUN}"


def test_parameters_are_those_kept_with_the_run_and_unknown_where_none_were(project):
    assert content(project, "1").recipe == {}  # the model of another run, and no run was kept
    from components.pipeline.run_reference import keep_run

    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    (project.root / "params.yaml").write_text((project.root / "params.yaml").read_text().replace("seed: 20", "seed: 77"))
    keep_run(project.root, "20260101-000000-aaaa", message="kept")
    (project.root / "params.yaml").write_text((project.root / "params.yaml").read_text().replace("seed: 77", "seed: 20"))
    assert content(project, "1").recipe["run"] == "seed=77, threads=2"
    assert content(project, "2").recipe["run"] == "seed=20, threads=2"


def test_a_folder_of_ones_own_sources_speaks_for_its_licence(project):
    parameters = project.root / "params.yaml"
    parameters.write_text(parameters.read_text().replace("folder: null     # a folder of your own", "folder: own     # a folder of your own"))
    assert content(project, "2").licences["sources (own)"] == "not recorded: the folder has no LICENSE file"
    (project.root / "own").mkdir()
    (project.root / "own" / "LICENSE.txt").write_text("\n Ward data,  for research only\nsee the contract\n")
    assert content(project, "2").licences["sources (own)"] == "Ward data, for research only, see the contract"
    assert "synthetic sources" not in model_card(content(project, "2"))


def test_the_weakest_tasks_come_first_and_rest_on_enough_cases(project):
    from components.evaluation.results import read_results

    settings = load_settings(project.root / "params.yaml")
    found = weakest_tasks(read_results(project.root / "artifacts/evaluate/results.parquet")["grpo_general"], settings=settings)
    assert [item["value"] for item in found] == sorted(item["value"] for item in found) and found[0]["value"] == 0.5
    assert "verified_task" not in [item["task"] for item in found] and {item["n"] for item in found} == {60}
    assert weakest_tasks(read_results(project.root / "artifacts/evaluate/results.parquet")["grpo_general"][:9], settings=settings) == []


def test_the_whole_card_is_an_artifact_and_the_description_fits_the_column(project):
    verdict = assess_version(project.root, "2", score=project.score).verdict
    assert verdict["weakest"]
    client = open_client(project.root)
    assert "Not judged yet." in read_card(project.root, client, "2", model="quarkmed")  # none was stored yet
    card = keep_card(project.root, client, "quarkmed", "2")
    assert read_card(project.root, client, "@challenger", model="quarkmed") == card and "## Recipe" in card
    description = client.get_model_version("quarkmed", "2").description
    assert len(description) <= 4900 and description.startswith("# quarkmed version 2") and "model_card.md" in description


@pytest.mark.parametrize("maximum", [300, 500, 5000])
def test_a_short_card_ends_with_a_whole_section(maximum):
    card = model_card(CardContent("m", "1", {"git_sha": "x" * 40}, decisions=[Decision("promoted", "ann", "good", "", 0.0)], recipe={"a": "y" * 200, "b": "z" * 200}))
    short = short_card(card, maximum=maximum)
    assert len(short) <= maximum and (short == card) == (len(card) <= maximum)
    if short != card:
        assert short.rstrip().endswith("(`quarkmed card`).") and "y" * 200 not in short
