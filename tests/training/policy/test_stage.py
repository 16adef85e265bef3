"""What a policy stage refuses before it loads anything."""

from typing import Any

import pytest

from components.errors import SettingsError
from components.settings.engine import EngineSettings
from components.training.policy.stage import run_policy_stage


class Sections:
    """A context that has settings and nothing else."""

    name = "grpo_reasoning"

    def __init__(self, **sections: Any) -> None:
        self.sections = sections

    def section(self, name: str) -> Any:
        return self.sections[name]


def test_a_sampler_in_an_engine_of_its_own_is_refused_under_several_processes(toy_settings):
    context = Sections(grpo_reasoning=toy_settings(sampler="vllm_server"), engine=EngineSettings(strategy="ddp"))
    with pytest.raises(SettingsError, match=r"grpo_reasoning\.sampler: vllm_server .* engine\.strategy is ddp"):
        run_policy_stage(context, parent="models/a.json", prompts="p.jsonl", output="models/b.json", terms=[])
