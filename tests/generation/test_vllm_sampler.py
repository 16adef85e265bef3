"""vLLM itself, beside this process and behind its server, against the native sampler. Run by `make test-vllm` where vLLM is."""

import contextlib
import copy
import importlib.util
import itertools
import sys
from time import monotonic

import pytest
import torch

from components.errors import ServiceError
from components.generation.colocated_engine import ColocatedEngine
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.generation.weight_folder import WeightFolder
from components.modeling.models import create_model, load_model, save_model
from components.modeling.tokenizers import stop_ids
from components.recorder import Recorder, read_record
from components.settings.generation import VllmSettings
from components.settings.training import ModelSettings, PolicySettings
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.policy.samplers import policy_sampler

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not in this environment: `make test-vllm` runs these tests where it is", allow_module_level=True)

TOLERANCE = 1e-3  # nats, float32
GENERATOR = torch.Generator().manual_seed(0)
# The last one is longer than a block of vLLM's prefix cache (128 tokens on a CPU).
PROMPTS = [torch.randint(4, 300, (length,), generator=GENERATOR).tolist() for length in (5, 12, 3, 20, 7, 1, 200)]
SETTINGS = VllmSettings(python=sys.executable, cache_gib=0.1, sequences=64, start_seconds=3600, call_seconds=1200)
SHAPE = ModelSettings(vocabulary=512, hidden=64, layers=2, heads=4, key_value_heads=2, head_dimension=32, intermediate=96, context=256)


def _perturbed(model, *, seed, size=0.15):
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
    return model


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    torch.set_num_threads(1)
    return _perturbed(create_model(SHAPE, tokenizer=tiny_tokenizer, seed=1), seed=2)


@pytest.fixture(scope="module")
def folder(model, tiny_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(model, tiny_tokenizer, folder)
    return folder


@contextlib.contextmanager
def _started(kind, model, tokenizer, folder, *, settings=SETTINGS):
    start = monotonic()
    with policy_sampler(kind, model, tokenizer, folder=folder, precision="float32", vllm=settings, root=folder) as sampler:
        print(f"\n{kind}: started in {monotonic() - start:.1f} s", file=sys.__stderr__)
        yield sampler


@pytest.fixture(scope="module", params=["vllm", "vllm_server"])
def sampler(request, model, tiny_tokenizer, folder):
    with _started(request.param, model, tiny_tokenizer, folder) as sampler:
        yield sampler


def _eager_to_stop(model, tokenizer):
    """Raise both stop tokens' logits, so that answers end at many different lengths and by either."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.model.norm.weight.mul_(0.3)
        for token in stop_ids(tokenizer):
            model.lm_head.weight[token] = model.lm_head.weight.mean(dim=0)
            model.lm_head.weight[token] += model.lm_head.weight[300:400].std(dim=0) * 6
    return model


def _ids(groups):
    return [[item.ids for item in group] for group in groups]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_trainers_model_at_the_sampling_temperature(temperature, sampler, model):
    sampler.sync(model, version=1)
    print(f"\nprobe gap {sampler.scores.gap:.2e} nats", file=sys.__stderr__)
    groups = sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=24, samples=4, temperature=temperature, seed=4))
    largest = 0.0
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for item in group:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + list(item.ids)])).logits[0, len(prompt) - 1 : -1]
            expected = (logits / temperature).log_softmax(dim=-1).gather(1, torch.tensor(item.ids)[:, None])[:, 0]
            largest = max(largest, float((torch.tensor(item.logprobs) - expected).abs().max()))
    print(f"\nlargest difference at temperature {temperature}: {largest:.2e} nats", file=sys.__stderr__)
    assert largest < TOLERANCE


def test_greedy_answers_are_the_native_samplers(sampler, model, tiny_tokenizer):
    eager = _eager_to_stop(model, tiny_tokenizer)
    for version, tuned in enumerate((model, eager), start=1):
        sampler.sync(tuned, version=version)
        options = SamplingOptions(max_new_tokens=24, samples=2, temperature=0)
        native = NativeSampler(tuned, tiny_tokenizer)
        native.sync(tuned, version=version)
        ours, theirs = sampler.generate(PROMPTS, options), native.generate(PROMPTS, options)
        assert _ids(ours) == _ids(theirs)
        for left, right in zip(itertools.chain(*ours), itertools.chain(*theirs), strict=True):
            assert (left.finish_reason, left.text, left.weights_version) == (right.finish_reason, right.text, right.weights_version)
            torch.testing.assert_close(torch.tensor(left.logprobs), torch.tensor(right.logprobs), rtol=0, atol=TOLERANCE)


def test_finish_reasons_and_ids_follow_the_stop_tokens(sampler, model, tiny_tokenizer):
    sampler.sync(_eager_to_stop(model, tiny_tokenizer), version=3)
    groups = sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=8, samples=16, seed=1))
    stops, last, reasons = set(stop_ids(tiny_tokenizer)), set(), set()
    for item in (item for group in groups for item in group):
        assert not stops & set(item.ids[:-1])
        assert (item.ids[-1] in stops) == (item.finish_reason == "stop")
        assert item.finish_reason == "stop" or len(item.ids) == 8
        last |= {item.ids[-1]} & stops
        reasons.add(item.finish_reason)
    assert last == stops, "either stop token must have ended an answer"
    assert reasons == {"stop", "length"}


def test_a_seed_fixes_the_answers_whatever_stands_beside_them(sampler, model):
    sampler.sync(model, version=4)
    options = SamplingOptions(max_new_tokens=16, samples=4, seed=9)
    together = _ids(sampler.generate(PROMPTS, options))
    assert _ids(sampler.generate(PROMPTS, options)) == together
    assert _ids(sampler.generate(PROMPTS[::-1], options))[::-1] == together
    assert [_ids(sampler.generate([prompt], options))[0] for prompt in PROMPTS] == together
    fewer = _ids(sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=16, samples=2, seed=9)))
    assert [group[:2] for group in together] == fewer
    assert _ids(sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=16, samples=4, seed=10))) != together
    assert all(len(set(group)) == 4 for group in together), "samples of a prompt differ"


def test_a_sync_changes_what_is_drawn_and_forgets_cached_prompts(sampler, model, tiny_tokenizer):
    options = SamplingOptions(max_new_tokens=8, temperature=0)
    sampler.sync(model, version=5)
    before = sampler.generate(PROMPTS, options)
    tuned = _perturbed(model, seed=7)
    start = monotonic()
    sampler.sync(tuned, version=6)
    print(f"\nsync {1000 * (monotonic() - start):.0f} ms", file=sys.__stderr__)
    after = sampler.generate(PROMPTS, options)
    assert _ids(after) != _ids(before)
    assert _ids(after) == _ids(NativeSampler(tuned, tiny_tokenizer).generate(PROMPTS, options))
    assert {item.weights_version for group in after for item in group} == {6}


class DamagedFolder(WeightFolder):
    """Writes the weights with one matrix of one layer halved."""

    def write(self, model, *, version):
        damaged = copy.deepcopy(model)
        with torch.no_grad():
            damaged.model.layers[1].mlp.down_proj.weight.mul_(0.5)
        return super().write(damaged, version=version)


class OldFolder(WeightFolder):
    """Hands over a model's weights as they were when it was made."""

    def __init__(self, model, **options):
        super().__init__(**options)
        self.old = copy.deepcopy(model)

    def write(self, model, *, version):
        return super().write(self.old, version=version)


def test_damaged_and_old_weights_are_caught_and_the_next_sync_mends_them(sampler, model, monkeypatch):
    sampler.sync(model, version=7)
    tuned = _perturbed(model, seed=8, size=1e-4)
    for handed, word in ((DamagedFolder(dtype=torch.float32), "is off by"), (OldFolder(model, dtype=torch.float32), "old weights|is off by")):
        with monkeypatch.context() as patch:
            patch.setattr(sampler, "weights", handed)
            with pytest.raises(ServiceError, match=word):
                sampler.sync(tuned, version=8)
        with pytest.raises(ServiceError, match="last sync of weights failed"):
            sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=2))
        sampler.sync(model, version=7)
    sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=2))


def test_the_policy_loop_learns_with_it(sampler, model, tmp_path):
    settings = PolicySettings.model_validate(
        {
            "optimiser": {"learning_rate": 1e-3, "warmup_steps": 0, "schedule": "constant"}, "steps": 3, "prompts_per_step": 4,
            "completions": 4, "max_new_tokens": 6, "epochs": 1, "precision": "float32", "mask_truncated": False, "temperature": 0.7,
        }
    )  # fmt: skip
    prompts = [PolicyPrompt(str(number), "toy", tuple(prompt)) for number, prompt in enumerate(PROMPTS[:4])]
    optimise_policy(
        copy.deepcopy(model), prompts, lambda asked, texts: [{"correct": float(len(text))} for text in texts],
        sampler=sampler, settings=settings, seed=1, recorder=Recorder(tmp_path / "record"),
    )  # fmt: skip
    steps = [entry["values"] for entry in read_record(tmp_path / "record") if entry["kind"] == "metrics" and "kl" in entry["values"]]
    print("\nseconds_sync", [round(values["seconds_sync"], 3) for values in steps], "sampler_gap", [f"{values['sampler_gap']:.1e}" for values in steps], file=sys.__stderr__)
    assert all(values["sampler_gap"] < TOLERANCE and values["seconds_sync"] > 0 for values in steps)
    assert sampler.weights_version == 2  # the weights of the last step, after two updates


def test_a_killed_engine_is_an_error_and_not_a_wait(sampler, model):
    sampler.sync(model, version=9)
    engine = sampler.engine
    for process in engine.processes if isinstance(engine, ColocatedEngine) else engine.process.family[1:]:
        with contextlib.suppress(Exception):
            process.kill()
    start = monotonic()
    with pytest.raises(ServiceError):
        sampler.generate(PROMPTS, SamplingOptions(max_new_tokens=4))
    assert monotonic() - start < 120
    with pytest.raises(ServiceError):
        sampler.sync(model, version=10)


def test_tied_embeddings_are_mended_after_a_reload_and_caught_where_they_are_not(model, tiny_tokenizer, tmp_path, monkeypatch):
    config = copy.deepcopy(model.config)
    config.tie_word_embeddings = True
    tied = _perturbed(type(model)(config).eval(), seed=2)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    save_model(tied, tiny_tokenizer, tmp_path)
    assert load_model(tmp_path).config.tie_word_embeddings
    with _started("vllm", tied, tiny_tokenizer, tmp_path) as sampler:
        for version in (1, 2):
            tied = _perturbed(tied, seed=version)
            sampler.sync(tied, version=version)
            print(f"\ntied: probe gap {sampler.scores.gap:.2e} nats", file=sys.__stderr__)
        rpc = sampler.engine._engine.collective_rpc
        monkeypatch.setattr(sampler.engine._engine, "collective_rpc", lambda method, **options: None if method == "mend_tied_head" else rpc(method, **options))
        with pytest.raises(ServiceError, match="does not have the trainer's weights"):
            sampler.sync(_perturbed(tied, seed=3), version=3)


@pytest.mark.parametrize("kind", ["vllm", "vllm_server"])
def test_weights_by_broadcast_replace_the_engines(kind, model, tiny_tokenizer, folder):
    options = SamplingOptions(max_new_tokens=8, temperature=0)
    with _started(kind, model, tiny_tokenizer, folder, settings=SETTINGS.model_copy(update={"weights": "broadcast"})) as sampler:
        drawn = []
        for version in (1, 2):
            tuned = _perturbed(model, seed=version)
            start = monotonic()
            sampler.sync(tuned, version=version)
            print(f"\n{kind}: sync by broadcast {1000 * (monotonic() - start):.0f} ms, probe gap {sampler.scores.gap:.2e} nats", file=sys.__stderr__)
            drawn.append(_ids(sampler.generate(PROMPTS, options)))
            assert drawn[-1] == _ids(NativeSampler(tuned, tiny_tokenizer).generate(PROMPTS, options))
        assert drawn[0] != drawn[1]
