"""The DeepSpeed configurations that ship, and what a configuration may not say."""

import json
from pathlib import Path

import pytest

from components.errors import SettingsError
from components.settings.engine import EngineSettings
from components.training.engines.deepspeed_config import read_deepspeed_config, refuse_unreadable

SHIPPED = sorted((Path(__file__).parents[3] / "infra" / "deepspeed").glob("*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_says_what_its_name_does(monkeypatch, path):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    config = read_deepspeed_config(path, clip_norm=0.7)
    refuse_unreadable(config, path=path)
    zero = config["zero_optimization"]
    assert config["gradient_clipping"] == 0.7
    assert path.stem.startswith(f"zero{zero['stage']}")
    assert ("offload_optimizer" in zero) == path.stem.endswith("offload")
    assert ("offload_param" in zero) == (path.stem == "zero3-offload")  # only stage 3 has weights in parts to keep elsewhere


def test_the_default_is_one_that_ships():
    assert Path(__file__).parents[3] / EngineSettings().config in SHIPPED


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"zero_optimization": {"stage": 3}, "optimizer": {}, "bf16": {}}', "bf16, optimizer cannot be set here"),
        ('{"zero_optimization": {"stage": 0}}', "stage is not 1, 2 or 3"),
        ("[]", "stage is not 1, 2 or 3"),
        ("{", "cannot be read as JSON"),
        (None, "cannot be read as JSON"),
    ],
)
def test_a_configuration_of_other_things_than_parts_is_refused(tmp_path, content, complaint):
    path = tmp_path / "ds.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=complaint):
        read_deepspeed_config(path, clip_norm=1.0)


def test_an_option_deepspeed_does_not_know_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2, "overlapp_comm": True}}))
    with pytest.raises(SettingsError, match=r"zero_optimization\.overlapp_comm: Extra inputs"):
        refuse_unreadable(read_deepspeed_config(path, clip_norm=1.0), path=path)
