"""The DeepSpeed configurations that ship, and what a configuration may not say."""

import json

import pytest

from components.errors import SettingsError
from components.settings.engine import EngineSettings
from components.training.engines.deepspeed_engine import CONFIGS, deepspeed_config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
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
