"""Model cards: made from records, whole as an artifact, in short as a description, silent about what no record holds."""

import json
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
from components.tracking.replay import replay_stage
from components.tracking.tracking_store import open_client

RUN = "20260102-000000-bbbb"


def content(project, version):
    client = open_client(project.root)
    return card_content(project.root, find_version(client, version, model="quarkmed"), entries=project.journal.entries("quarkmed"), client=client)


LOCK = """
stages:
  curate: {outs: [{path: artifacts/curate, md5: a1.dir}]}
  ift: {deps: [{path: artifacts/curate, md5: a1.dir}], outs: [{path: models/ift.json, md5: b2}]}
  grpo_general: {deps: [{path: models/ift.json, md5: b2}], outs: [{path: models/grpo_general.json, md5: c3}]}
  evaluate: {deps: [{path: models/grpo_general.json, md5: c3}], outs: [{path: artifacts/evaluate, md5: d4.dir}]}
"""


def replay(project, stage, key, outputs, *, cpu_seconds=None, joules=None):
    """Replay a stage of two attempts, each of which used half; of one that only restored its outputs where no use is given."""
    folder = project.root / "var" / "work" / stage / key
    folder.mkdir(parents=True)
    for attempt in ("a", "b") if cpu_seconds else ():
        sample = {
            "time": 1000.0, "attempt": attempt, "seconds": 1.0, "cpu_seconds": cpu_seconds / 2, "cpu_percent": None, "memory_bytes": 1, "peak_bytes": 1,
            "machine_cpu_percent": 1.0, "machine_memory_percent": 1.0, "joules": joules and joules / 2, "gpus": [],
        }  # fmt: skip
        with (folder / "usage.jsonl").open("a") as stream:
            stream.write(json.dumps(sample) + "\n")
    replay_stage(str(project.root), RUN, {"name": stage, "key": key, "folder": str(folder), "parameters": {stage: {"steps": 3}}, "outputs": outputs})


def test_a_card_says_what_the_records_say(project):
    found = content(project, "2")
    assert found.data == {"artifacts/holdout": "0123.dir"} and found.lineage["git_sha"] == "c0ffee"
    assert found.licences["data/knowledge_base"] == "part of the project: Apache License, Version 2.0, January 2004"
    assert "learning_rate" in found.recipe["grpo_general"] and found.recipe["run"] == "seed=20, threads=2"
    unknown = "not measured: neither a kept run nor the dvc.lock here says which stages made it"
    assert found.costs == {"CPU-hours": unknown, "GPU-hours": "not measured: no pod of a cluster worked in this run", "energy": unknown}
    card = model_card(found)
    assert card.startswith("# quarkmed version 2\n") and "Not judged yet." in card and "not a medical device" in card


def test_gpu_hours_are_those_of_the_runs_pods(project):
    pod = PodTime("p", "u1", "n", RUN, "ift", "k", 1, 4, 0.0, 5400.0, True)  # 4 GPUs for an hour and a half
    open_ledger(project.root).note([pod, replace(pod, uid="u2", run="another")])
    assert content(project, "2").costs["GPU-hours"] == f"6.00 of 1 pods in run {RUN}"


def test_costs_are_those_of_every_stage_that_made_the_model_whichever_run_did_the_work(project):
    (project.root / "dvc.lock").write_text(LOCK)
    assert content(project, "2").costs["energy"] == "not measured in any of its 3 stages"
    # 7,200 J are 2 Wh, 3,600 J are 1 Wh; 1,800 + 1,800 + 3,600 s are 2 CPU-hours
    replay(project, "curate", "key-curate", {"artifacts/curate": "a1.dir"}, cpu_seconds=1800.0, joules=7200.0)
    replay(project, "ift", "key-ift", {"models/ift.json": "b2"}, cpu_seconds=1800.0, joules=3600.0)
    replay(project, "ift", "key-ift-again", {"models/ift.json": "b2"})  # restored, so it took nothing
    replay(project, "grpo_general", "key-grpo", {"models/grpo_general.json": "c3"}, cpu_seconds=3600.0)  # on a machine that tells no energy
    replay(project, "evaluate", "key-evaluate", {"artifacts/evaluate": "d4.dir"}, cpu_seconds=3600.0, joules=3600.0)  # came after the model
    costs = content(project, "2").costs
    assert costs["energy"] == "at least 3.00 Wh, in 2 of its 3 stages; not measured in grpo_general"
    assert costs["CPU-hours"] == "2.00 in its 3 stages"
    assert costs["GPU-hours"] == "not measured: none of its stages ran in a pod of a cluster"
    pod = PodTime("p", "u1", "n", "another run", "ift", "key-ift", 1, 4, 0.0, 5400.0, True)  # 6 GPU-hours
    open_ledger(project.root).note([pod, replace(pod, uid="u2", attempt=2, ended=1800.0), replace(pod, uid="u3", run=RUN, stage="evaluate", key="key-evaluate")])
    assert content(project, "2").costs["GPU-hours"] == "8.00 of 2 pods its stages ran in, failed attempts among them"
    (project.root / "dvc.lock").write_text("stages: [")
    assert content(project, "2").costs["energy"].startswith("not measured: neither")  # and the card is made all the same


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
