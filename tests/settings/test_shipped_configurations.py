"""Every configuration that ships is read by what will read it; a profile changes scale and backends, never what is learnt or judged."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "infra" / "profiles").glob("*.yaml"))
# How much data, how large a model, how long, how often looked at. Learning rate and warm-up go with size and length.
SCALE = {
    "diseases", "documents_per_disease", "records_per_disease", "queries", "sentences_per_triple", "probes_per_set",
    "train_cases", "validation_cases_per_suite", "test_cases", "samples_per_task",
    "vocabulary", "hidden", "layers", "heads", "key_value_heads", "head_dimension", "intermediate", "context",
    "steps", "batch_tokens", "batch_samples", "validate_every", "checkpoint_every", "learning_rate", "warmup_steps",
    "start_up_trials", "gp_trials", "trial_steps", "trial_cases", "prompts", "candidates", "max_new_tokens",
    "rollouts", "reasoning_prompts", "general_prompts", "pool", "prompts_per_step", "completions",
    "samplings", "bootstrap_draws", "retrieval_cases", "measured_cases",
}  # fmt: skip
BACKENDS = {"folder", "threads", "micro_tokens", "precision", "store", "strategy", "config"}
REHEARSAL_ONLY = {"minimum_pass_rate", "maximum_pass_rate"}  # a model of a minute's training answers nothing within the limits


def changed_keys(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        path = (*prefix, key)
        yield from changed_keys(value, path) if isinstance(value, dict) else [path]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_valid_and_leaves_seeds_rewards_and_gates_alone(profile):
    plain, overlaid = load_settings(ROOT / "params.yaml"), load_settings(ROOT / "params.yaml", profile=profile)
    assert (overlaid.run.seed, overlaid.gate) == (plain.run.seed, plain.gate)
    for stage in ("grpo_reasoning", "grpo_general"):
        for key in ("reward_weights", "combine_rewards", "loss", "kl", "kl_weight", "clip_low", "clip_high"):
            assert getattr(getattr(overlaid, stage), key) == getattr(getattr(plain, stage), key)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_a_profile_changes_scale_and_backends_only(profile):
    allowed = SCALE | BACKENDS | (REHEARSAL_ONLY if profile.stem == "tiny" else set())
    values = yaml.safe_load(profile.read_text(encoding="utf-8"))
    assert [".".join(path) for path in changed_keys(values) if not allowed & set(path[1:])] == []


def test_prefect_reads_its_file_whole():
    from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel

    values = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text(encoding="utf-8"))
    read = PrefectYamlModel.model_validate(values)
    # Prefect ignores keys it does not know, so a mistyped one must be found here.
    names = {field.alias or name for name, field in PrefectYamlModel.model_fields.items()}
    assert set(values) <= names
    for deployment in values["deployments"]:
        assert set(deployment) <= set(DeploymentConfig.model_fields)
    assert len(read.deployments) == len({deployment.name for deployment in read.deployments}) == len(values["deployments"])


def test_every_deployment_names_a_flow_and_its_parameters(monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    for deployment in yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"])
        assert set(deployment["parameters"]) <= set(inspect.signature(flow.fn).parameters)


def test_every_schedule_is_one_that_prefect_understands():
    from prefect.client.schemas.schedules import CronSchedule

    for deployment in yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]:
        for schedule in deployment["schedules"]:
            CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_every_schedule_is_off_has_a_name_and_asks_what_the_form_takes(monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    for deployment in yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"])
        for schedule in deployment["schedules"]:
            assert schedule["active"] is False and schedule["slug"]
            flow.validate_parameters({**deployment["parameters"], **schedule["parameters"]})


def test_the_form_offers_the_profiles_and_stages_that_exist():
    from components.pipeline.graph import load_graph
    from flows.retrain_request import NO_STAGE, PROFILES, RetrainRequest

    fields = RetrainRequest.model_json_schema()["properties"]
    assert set(fields["profile"]["enum"]) == set(PROFILES) == {"laptop", *(path.stem for path in (ROOT / "infra" / "profiles").glob("*.yaml"))}
    assert fields["from_stage"]["enum"] == [NO_STAGE, *load_graph(ROOT).names]


def test_prefect_takes_every_automation_once_a_block_is_named():
    from uuid import uuid4

    from prefect.events.schemas.automations import AutomationCore

    for row in yaml.safe_load((ROOT / "infra" / "automations.yaml").read_text(encoding="utf-8"))["automations"]:
        actions = [{**action, "block_document_id": str(uuid4())} for action in row["actions"]]
        assert AutomationCore.model_validate({**row, "actions": actions}).enabled
        assert "block_document_id" not in str(row)
