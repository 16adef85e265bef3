"""The whole flow with the real stages at rehearsal scale: raw data to a decision, then nothing left to do."""

import json

import pytest

from components.layout import MODELS
from components.pipeline.stages import STAGES


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_raw_data_becomes_a_decided_version_and_then_nothing_is_left(undisturbed, quarkmed):
    summary = json.loads((undisturbed / "runs/latest/summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == list(STAGES)
    assert {stage["status"] for stage in summary["stages"]} <= {"ran", "resumed"}
    assert set(summary["metrics"]) == set(MODELS)
    assert summary["registry"]["decision"] and summary["registry"]["reasons"]
    second = quarkmed(undisturbed, "retrain")
    assert second.returncode == 0, second.stderr[-3000:]
    assert "starting the Prefect server" not in second.stdout
