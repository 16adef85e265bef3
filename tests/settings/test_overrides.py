"""Overrides: read as params.yaml reads values, unknown keys refused with the nearest right one."""

from pathlib import Path

import pytest

from components.errors import SettingsError
from components.settings.overrides import overlaid_values, parse_overrides, settings_keys
from components.settings.settings import read_yaml

BASE = read_yaml(Path(__file__).parents[2] / "params.yaml")


def test_values_are_read_as_yaml_and_small_numbers_as_numbers():
    texts = ["ift.steps=7", " sft.optimiser.learning_rate = 1e-6 ", "model.folder=null", "curate.languages=[en, de]", "engine.strategy=ddp", "run.seed=0"]
    assert parse_overrides(texts) == {
        "ift.steps": 7, "sft.optimiser.learning_rate": 1e-6, "model.folder": None, "curate.languages": ["en", "de"], "engine.strategy": "ddp", "run.seed": 0
    }  # fmt: skip


@pytest.mark.parametrize("text", ["ift.steps", "=3", "ift.steps=[1"])
def test_a_text_that_is_no_override_is_refused(text):
    with pytest.raises(SettingsError, match="override"):
        parse_overrides([text])


def test_a_key_named_twice_is_refused():
    with pytest.raises(SettingsError, match=r"override ift\.steps: named twice"):
        parse_overrides(["ift.steps=1", "ift.steps=2"])


def test_an_override_lies_over_the_profile_and_leaves_its_neighbours():
    values = overlaid_values(BASE, profile={"ift": {"steps": 5, "batch_samples": 3}}, overrides={"ift.steps": 9})
    assert (values["ift"]["steps"], values["ift"]["batch_samples"], values["ift"]["checkpoint_every"]) == (9, 3, BASE["ift"]["checkpoint_every"])


@pytest.mark.parametrize(
    ("key", "near"), [("ift.stepz", "ift.steps"), ("grpo_resoning.kl_weight", "grpo_reasoning.kl_weight"), ("sft.optimizer.learning_rate", "sft.optimiser.learning_rate")]
)
def test_an_unknown_key_is_refused_with_the_nearest(key, near):
    assert near in settings_keys()
    with pytest.raises(SettingsError, match=f"override {key}: unknown key; did you mean {near}"):
        overlaid_values(BASE, profile=None, overrides={key: 1})


def test_a_value_out_of_range_is_named_with_its_key():
    with pytest.raises(SettingsError, match=r"override run\.threads: .*greater than or equal to 1"):
        overlaid_values(BASE, profile=None, overrides={"run.threads": 0})
