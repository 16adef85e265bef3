"""The choice of a policy stage's sampler, and the loop's hand-over of weights before every sampling."""

import pytest

from components.errors import ServiceError, SettingsError
from components.generation.native_sampler import NativeSampler
from components.generation.scripted_sampler import ScriptedSampler
from components.recorder import Recorder, read_record
from components.settings.generation import VllmSettings
from components.training.policy.loop import optimise_policy
from components.training.policy.samplers import policy_sampler


def test_native_is_the_default_and_samples_the_model_itself(tmp_path, tiny_model, tiny_tokenizer, toy_settings):
    model = tiny_model()
    assert toy_settings().sampler == "native"
    with policy_sampler("native", model, tiny_tokenizer, folder=tmp_path, precision="float32", vllm=VllmSettings(), root=tmp_path) as sampler:
        assert isinstance(sampler, NativeSampler) and sampler.model is model


def test_a_server_that_cannot_be_started_or_reached_is_an_error(tmp_path, tiny_model, tiny_tokenizer):
    common = {"folder": tmp_path, "precision": "float32", "root": tmp_path}
    with pytest.raises(SettingsError, match="make vllm-env"), policy_sampler("vllm_server", tiny_model(), tiny_tokenizer, vllm=VllmSettings(), **common):
        pass
    absent = VllmSettings(url="http://127.0.0.1:9")
    with policy_sampler("vllm_server", tiny_model(), tiny_tokenizer, vllm=absent, **common) as sampler, pytest.raises(ServiceError, match="does not answer"):
        sampler.sync(tiny_model(), version=1)


def test_the_loop_hands_over_the_weights_before_each_step_and_says_how_long_it_took(tmp_path, tiny_model, toy_prompts, vowel_reward, toy_settings):
    # A scripted answer's log-probabilities are 0: the loop does not use them with one update a rollout.
    sampler = ScriptedSampler(lambda prompt, sample: "a" * sample + "b")
    settings = toy_settings(steps=3, max_new_tokens=10)
    result = optimise_policy(
        tiny_model(), toy_prompts, vowel_reward, sampler=sampler, settings=settings, seed=1, recorder=Recorder(tmp_path / "record")
    )
    assert sampler.synced == [0, 1, 2]
    steps = [entry["values"] for entry in read_record(tmp_path / "record") if entry["kind"] == "metrics" and "kl" in entry["values"]]
    assert result.summary["seconds_sync"] == pytest.approx(sum(values["seconds_sync"] for values in steps))
