"""The engine's settings."""

import pytest
from pydantic import ValidationError

from components.settings.engine import EngineSettings


def test_one_process_is_the_default():
    assert EngineSettings().is_single


def test_weights_are_offloaded_only_where_they_lie_in_parts():
    with pytest.raises(ValidationError, match="needs zero_stage 3"):
        EngineSettings(strategy="deepspeed", zero_stage=2, offload="parameters")
