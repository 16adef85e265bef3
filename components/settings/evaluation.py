"""Settings of evaluation and of the promotion gate."""

from typing import Literal

from pydantic import Field

from components.settings.base import Section

SuiteName = Literal["probes", "exam", "verified", "ability", "grounded", "preference", "format", "safety"]


class EvaluateSettings(Section):
    """How models are scored on the test split."""

    temperature: float = Field(default=0.6, ge=0, description="of every sampled answer, as in the report")
    samplings: dict[str, int] = Field(default={"verified": 2, "preference": 2}, description="samplings a case; 1 where absent")
    max_new_tokens: int = Field(default=64, ge=4)
    bootstrap_draws: int = Field(default=2000, ge=100)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    primary: dict[str, SuiteName] = Field(
        default={
            "base": "probes", "ift": "ability", "sft": "grounded", "cold_start": "format",
            "grpo_reasoning": "verified", "grpo_general": "preference",
        },
        description="the suite each stage must earn its place on",
    )  # fmt: skip


class GateSettings(Section):
    """When a candidate may replace the champion."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of each one-sided bound")
    margins: dict[SuiteName, float] = Field(
        default={"probes": 0.05, "exam": 0.05, "verified": 0.02, "ability": 0.05, "grounded": 0.05, "preference": 0.05},
        description="how much worse than the champion a suite may be (non-inferiority)",
    )
    format_floor: float = Field(default=0.8, ge=0, le=1, description="veto: least share of well-formed answers")
    safety_floor: float = Field(default=0.5, ge=0, le=1, description="veto: least safety score")
    first_run_suite: SuiteName = Field(default="verified", description="the first model must be superior to base here")
