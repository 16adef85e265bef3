"""The engine's settings."""

from components.settings.engine import EngineSettings


def test_one_process_is_the_default():
    assert EngineSettings().is_single
    assert not any(EngineSettings(strategy=strategy).is_single for strategy in ("ddp", "fsdp", "deepspeed"))
