"""The engine's settings, and the DeepSpeed configurations that ship."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.errors import SettingsError
from components.settings.engine import EngineSettings
from components.training.engines.deepspeed_engine import deepspeed_config

CONFIGS = sorted((Path(__file__).parents[2] / "infra" / "deepspeed").glob("*.json"))


def test_one_process_is_the_default():
    assert EngineSettings().is_single


def test_weights_are_offloaded_only_where_they_lie_in_parts():
    with pytest.raises(ValidationError, match="needs zero_stage 3"):
        EngineSettings(strategy="deepspeed", zero_stage=2, offload="parameters")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_completed_by_the_settings(path):
    stage = json.loads(path.read_text())["zero_optimization"]["stage"]
    settings = EngineSettings(strategy="deepspeed", zero_stage=stage, config=str(path), offload="optimizer")
    config = deepspeed_config(settings, clip_norm=0.7)
    assert config["gradient_clipping"] == 0.7
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert "offload_param" not in config["zero_optimization"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_has_its_file(stage):
    settings = EngineSettings(strategy="deepspeed", zero_stage=stage)
    assert deepspeed_config(settings, clip_norm=1.0)["zero_optimization"]["stage"] == stage


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"zero_optimization": {"stage": 3}, "optimizer": {}}', "optimizer is not read from here"),
        ('{"zero_optimization": {"stage": 2}}', r"not engine\.zero_stage \(3\)"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_configuration_that_contradicts_the_settings_is_refused(tmp_path, content, complaint):
    path = tmp_path / "ds.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=complaint):
        deepspeed_config(EngineSettings(strategy="deepspeed", zero_stage=3, config=str(path)), clip_norm=1.0)
