"""The vLLM sampler over a stand-in engine: its weights are checked after each sync, and its answers carry their version."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from components.errors import ServiceError, SettingsError
from components.generation.colocated_engine import ColocatedEngine
from components.generation.engine_requests import EngineAnswer
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.vllm_sampler import VllmSampler
from components.generation.weight_probes import sequence_logprobs
from components.settings.generation import VllmSettings

OPTIONS = SamplingOptions(max_new_tokens=5, samples=2, seed=3)


class TorchEngine:
    """An `Engine` on torch whose reload can go wrong in the ways vLLM's can."""

    def __init__(self, model, tokenizer, *, fault=None):
        self.model, self.tokenizer, self.fault = copy.deepcopy(model), tokenizer, fault
        self.is_closed = False

    def draw(self, prompts, requests):
        groups = []
        for prompt, request in zip(prompts, requests, strict=True):
            options = SamplingOptions(request["max_tokens"], samples=request["n"], temperature=request["temperature"], seed=request["seed"])
            (group,) = NativeSampler(self.model, self.tokenizer).generate([prompt], options)
            groups.append([EngineAnswer(item.ids, item.logprobs, item.finish_reason) for item in group])
        return groups

    def score(self, sequences):
        return sequence_logprobs(self.model, sequences)

    def call_workers(self, method, arguments):
        if self.fault == "dead":
            raise ServiceError("vLLM: replacing the weights failed")
        if method == "mend_tied_head":
            return
        tensors = load_file(Path(arguments["weights_path"]) / "model.safetensors")
        if self.fault == "one matrix":
            tensors["model.layers.1.mlp.down_proj.weight"] = self.model.model.layers[1].mlp.down_proj.weight.detach()
        if self.fault != "old weights":
            self.model.load_state_dict(tensors)

    def forget_prompts(self):
        pass

    def sleep(self):
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(torch.nan)

    def wake(self, part):
        pass

    def close(self):
        self.is_closed = True


def _sampler(model, tokenizer, **options):
    fault = options.pop("fault", None)
    return VllmSampler(TorchEngine(model, tokenizer, fault=fault), tokenizer, vocabulary=len(tokenizer), context=128, dtype=torch.float32, **options)


def _step(model, size=0.05):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def test_a_sync_changes_the_answers_and_stamps_them(tiny_model, tiny_tokenizer):
    sampler = _sampler(tiny_model, tiny_tokenizer)
    first = sampler.generate([[5, 6]], OPTIONS)
    assert {item.weights_version for item in first[0]} == {0}
    _step(tiny_model, size=0.5)
    sampler.sync(tiny_model, version=4)
    second = sampler.generate([[5, 6]], OPTIONS)
    assert {item.weights_version for item in second[0]} == {4}
    assert [item.ids for item in first[0]] != [item.ids for item in second[0]]
    assert [item.text for item in second[0]] == tiny_tokenizer.batch_decode([list(item.ids) for item in second[0]], skip_special_tokens=True)
    assert sampler.scores.gap < 1e-6
    sampler.close()
    assert sampler.engine.is_closed


@pytest.mark.parametrize("fault", ["one matrix", "old weights", "dead"])
def test_a_sync_that_went_wrong_is_caught_and_nothing_is_drawn_after_it(fault, tiny_model, tiny_tokenizer):
    sampler = _sampler(tiny_model, tiny_tokenizer, fault=fault)
    _step(tiny_model)
    with pytest.raises(ServiceError):
        sampler.sync(tiny_model, version=1)
    with pytest.raises(ServiceError, match="last sync of weights failed"):
        sampler.generate([[5, 6]], OPTIONS)


def test_old_weights_are_caught_however_small_the_step_and_wide_the_tolerance(tiny_model, tiny_tokenizer):
    sampler = _sampler(tiny_model, tiny_tokenizer, tolerance=5.0)
    sampler.sync(tiny_model, version=0)
    sampler.engine.fault = "old weights"
    _step(tiny_model, size=1e-4)
    with pytest.raises(ServiceError, match="still has the old weights"):
        sampler.sync(tiny_model, version=1)


def test_greedy_answers_come_as_often_as_asked_for(tiny_model, tiny_tokenizer):
    options = SamplingOptions(max_new_tokens=5, samples=3, temperature=0)
    ours = _sampler(tiny_model, tiny_tokenizer).generate([[5, 6], [9]], options)
    theirs = NativeSampler(tiny_model, tiny_tokenizer).generate([[5, 6], [9]], options)
    assert [[(item.ids, item.finish_reason, item.text) for item in group] for group in ours] == [
        [(item.ids, item.finish_reason, item.text) for item in group] for group in theirs
    ]


def test_a_sync_replaces_mends_and_forgets_in_that_order(tiny_model, tiny_tokenizer, monkeypatch):
    sampler, calls = _sampler(tiny_model, tiny_tokenizer), []
    call = sampler.engine.call_workers
    monkeypatch.setattr(sampler.engine, "call_workers", lambda method, arguments: (calls.append(method), call(method, arguments)))
    monkeypatch.setattr(sampler.engine, "forget_prompts", lambda: calls.append("forget"))
    sampler.sync(tiny_model, version=1)
    assert calls == ["reload_weights", "mend_tied_head", "forget"]


def test_an_engine_at_rest_draws_nothing_until_a_sync_wakes_its_weights_and_then_its_cache(tiny_model, tiny_tokenizer, monkeypatch):
    sampler, calls = _sampler(tiny_model, tiny_tokenizer, sleeps=True), []
    call = sampler.engine.call_workers
    monkeypatch.setattr(sampler.engine, "call_workers", lambda method, arguments: (calls.append(method), call(method, arguments)))
    monkeypatch.setattr(sampler.engine, "wake", calls.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("released"))
    before = sampler.generate([[5, 6]], OPTIONS)
    sampler.rest()
    with pytest.raises(ServiceError, match="put to sleep"):
        sampler.generate([[5, 6]], OPTIONS)
    sampler.sync(tiny_model, version=0)
    assert calls == ["released", "weights", "reload_weights", "mend_tied_head", "kv_cache"]
    assert sampler.generate([[5, 6]], OPTIONS) == before


def test_an_engine_that_does_not_sleep_keeps_drawing_after_a_rest(tiny_model, tiny_tokenizer):
    sampler = _sampler(tiny_model, tiny_tokenizer)
    before = sampler.generate([[5, 6]], OPTIONS)
    sampler.rest()
    assert sampler.generate([[5, 6]], OPTIONS) == before


def test_a_prompt_the_engine_cannot_take_is_refused_before_it_sees_it(tiny_model, tiny_tokenizer):
    with pytest.raises(SettingsError, match="outside"):
        _sampler(tiny_model, tiny_tokenizer).generate([[len(tiny_tokenizer)]], OPTIONS)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_the_colocated_engine_says_how_to_get_vllm(tmp_path):
    with pytest.raises(ServiceError, match="make vllm-env"):
        ColocatedEngine(tmp_path, context=32, dtype="float32", settings=VllmSettings())
