"""Which processes a recipe is trained on, and what is refused before anything heavy is read."""

import json

import pytest
import yaml

from components.errors import SettingsError
from components.settings.recipes import load_recipe
from components.training.recipes.processes import Processes, processes_of
from components.training.recipes.running import FINISHED, MODEL, follow_recipe, prepare_recipe

WANTED = {"ddp": {"strategy": "ddp"}, "deepspeed": {"strategy": "deepspeed", "config": "own.json"}}
ZERO = {"zero_optimization": {"stage": 2}}


@pytest.fixture
def launched(monkeypatch):
    """Set what torchrun tells the second of two processes."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def test_a_recipe_is_for_this_process_unless_it_says_otherwise(policy_recipe):
    assert processes_of(load_recipe(policy_recipe())) == Processes(rank=0, count=1, here=1)


def test_several_processes_share_the_machine(policy_recipe, launched, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(9))
    prepared = prepare_recipe(policy_recipe(engine=WANTED["ddp"], threads=0))
    assert prepared.processes == Processes(rank=1, count=2, here=2) and not prepared.processes.is_main
    assert prepared.threads == 4  # 9 cores, two processes


def test_torchrun_needs_a_recipe_that_asks_for_it(policy_recipe, launched):
    with pytest.raises(SettingsError, match=r"torchrun started 2: set engine\.strategy to ddp, fsdp or deepspeed"):
        prepare_recipe(policy_recipe())


@pytest.mark.parametrize("kind", ["supervised", "reward_model", "preference"])
def test_every_kind_may_ask_for_several(tmp_path, launched, kind):
    section = {"steps": 1, "optimiser": {"learning_rate": 1.0e-3}}
    values = {"kind": kind, "model": "m", "data": "d.jsonl", "output": "o", kind: section, "engine": {"strategy": "deepspeed", "config": "own.json"}}
    (tmp_path / "own.json").write_text(json.dumps(ZERO))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    assert processes_of(load_recipe(tmp_path / "recipe.yaml")) == Processes(rank=1, count=2, here=2)


def test_a_recipe_for_several_needs_torchrun(policy_recipe):
    with pytest.raises(SettingsError, match="ddp trains on the processes that torchrun starts; start the recipe as `torchrun"):
        prepare_recipe(policy_recipe(engine=WANTED["ddp"]))


def test_a_deepspeed_file_lies_beside_the_recipe_and_its_bytes_are_part_of_the_work(policy_recipe, tmp_path, launched):
    path = policy_recipe(engine=WANTED["deepspeed"])
    with pytest.raises(SettingsError, match=rf"engine\.config: {tmp_path}/own.json cannot be read"):
        prepare_recipe(path)
    identities = []
    for stage in (1, 2):
        (tmp_path / "own.json").write_text(json.dumps({"zero_optimization": {"stage": stage}}))
        identities.append(prepare_recipe(path).identity)
    assert {name for name in identities[0] if identities[0][name] != identities[1][name]} == {"engine.config"}


def test_a_sampler_of_vllm_stays_with_one_process(policy_recipe):
    with pytest.raises(SettingsError, match="vllm_server is handed its weights by one process"):
        load_recipe(policy_recipe(engine=WANTED["ddp"], settings={"sampler": "vllm_server"}))


def test_beside_a_finished_run_nothing_is_done(policy_recipe, tmp_path, launched):
    prepared = prepare_recipe(policy_recipe(engine=WANTED["ddp"]))
    (prepared.output / MODEL).mkdir(parents=True)
    for name in (FINISHED, f"{MODEL}/config.json"):
        (prepared.output / name).write_text("{}")
    follow_recipe(prepared)  # it would join processes that are not there
    assert sorted(path.name for path in prepared.output.iterdir()) == [FINISHED, MODEL]
