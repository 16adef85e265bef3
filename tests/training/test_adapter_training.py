"""Tuning with LoRA adapters in every loop: the base stays, it learns, a cut run resumes to the bit, checkpoints are small."""

import copy

import pytest
import torch

from components.conversations import Message, PreferencePair, Sample
from components.errors import StorageError
from components.generation.native_sampler import NativeSampler
from components.modeling.adapters import frozen_digest, merged_state, trained_state
from components.modeling.models import create_model
from components.modeling.tokenizers import encode_prompts
from components.recorder import Recorder, read_record
from components.rewards.reward_model import RewardModel, create_reward_model, save_reward_model
from components.settings.training import (
    AdapterSettings,
    DirectPreferenceSettings,
    ModelSettings,
    OptimiserSettings,
    PolicySettings,
    SupervisedSettings,
)
from components.storage.checkpoints import CheckpointFolder
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy, reference_model
from components.training.preference.direct import tune_on_preferences
from components.training.preference.tuning import score_pairs, tune_reward_model
from components.training.supervised.tuning import pretrain, tune

WORDS = ("wheeze", "fever", "chest pain", "cough")
ADAPTERS = AdapterSettings(rank=4, alpha=16)


class _PowerCut(Exception):
    pass


class _FailingRecorder(Recorder):
    """Raises at a step's metrics, as a kill would."""

    fails_at = -1

    def metrics(self, values, *, step):
        if step == self.fails_at and any(name.split("/")[-1] == "loss" for name in values):
            raise _PowerCut
        super().metrics(values, step=step)


def _samples(count=12):
    return [
        Sample(
            id=str(number), task="t", group="a", level=1,
            messages=(
                Message(role="user", content=f"What causes {WORDS[number % 4]} {number}?"),
                Message(role="assistant", content="Asthma." if number % 2 else "Pneumonia causes a productive cough."),
            ),
        )
        for number in range(count)
    ]  # fmt: skip


def _settings(**changes):
    values = {
        "optimiser": OptimiserSettings(learning_rate=1e-2, warmup_steps=2), "adapters": ADAPTERS, "steps": 8, "batch_samples": 4,
        "validate_every": 3, "checkpoint_every": 2, "precision": "float32",
    }  # fmt: skip
    return SupervisedSettings(**values | changes)


def _base_part(model, before):
    """The weights of a model with adapters under the names of the model before."""
    return {name.replace(".base_layer", ""): value for name, value in model.state_dict().items() if "lora_" not in name and name.replace(".base_layer", "") in before}


def _assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_it_learns_and_leaves_the_base_alone(tiny_model, tiny_tokenizer, kind):
    before = copy.deepcopy(tiny_model).state_dict()
    optimiser = OptimiserSettings(kind=kind, learning_rate=2e-2, warmup_steps=2)
    result = tune(
        tiny_model, tiny_tokenizer, _samples(), settings=_settings(steps=25, optimiser=optimiser, recompute=True), seed=3, validation=_samples(4)
    )
    assert result.after.loss < 0.5 * result.before.loss
    _assert_equal(_base_part(tiny_model, before), before)
    assert any(not torch.equal(value, before[name]) for name, value in merged_state(tiny_model).items())


def test_plain_text_is_learned_too(tiny_model, tiny_tokenizer):
    texts = ["Asthma causes wheeze.", "Pneumonia causes fever."]
    result = pretrain(tiny_model, tiny_tokenizer, texts, settings=_settings(steps=20), seed=3, validation=texts)
    assert result.after.loss < 0.9 * result.before.loss


@pytest.mark.parametrize("cuts", [(1,), (4, 7)])
def test_a_cut_run_ends_bit_for_bit_as_an_undisturbed_one(tiny_model, tiny_tokenizer, tmp_path, cuts):
    def attempt(folder, fails_at):
        model = copy.deepcopy(tiny_model)  # as a new process loads it
        recorder = _FailingRecorder(folder / "record")
        recorder.fails_at = fails_at
        checkpoints = CheckpointFolder(folder / "checkpoints", key="k")
        result = tune(
            model, tiny_tokenizer, _samples(), settings=_settings(patience=9), seed=3, recorder=recorder, checkpoints=checkpoints, validation=_samples(4)
        )
        return model, result

    whole, expected = attempt(tmp_path / "whole", -1)
    for cut in cuts:
        with pytest.raises(_PowerCut):
            attempt(tmp_path / "cut", cut)
    resumed, result = attempt(tmp_path / "cut", -1)
    assert result == expected
    _assert_equal(resumed.state_dict(), whole.state_dict())


def test_a_checkpoint_holds_what_is_trained_and_refuses_another_base(tiny_model, tiny_tokenizer, tmp_path):
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight[0, 0] += 1.0
    checkpoints = CheckpointFolder(tmp_path, key="k")
    tune(tiny_model, tiny_tokenizer, _samples(), settings=_settings(), seed=3, checkpoints=checkpoints)
    tensors = checkpoints.latest()[0].tensors
    assert {name.removeprefix("model.") for name in tensors if name.startswith("model.")} == trained_state(tiny_model).keys()
    assert bytes(tensors["frozen"].tolist()).decode() == frozen_digest(tiny_model)
    with pytest.raises(StorageError, match="other frozen weights"):
        tune(other, tiny_tokenizer, _samples(), settings=_settings(), seed=3, checkpoints=checkpoints)


def test_a_checkpoint_of_full_tuning_is_not_taken_for_one_of_adapters(tiny_model, tiny_tokenizer, tmp_path):
    checkpoints = CheckpointFolder(tmp_path, key="k")
    tune(copy.deepcopy(tiny_model), tiny_tokenizer, _samples(), settings=_settings(adapters=AdapterSettings()), seed=3, checkpoints=checkpoints)
    with pytest.raises(StorageError, match="other frozen weights"):
        tune(tiny_model, tiny_tokenizer, _samples(), settings=_settings(), seed=3, checkpoints=checkpoints)


def _policy_run(model, tokenizer, folder, *, fails_at=10**6, measure=None, **changes):
    prompts = encode_prompts(tokenizer, [[Message(role="user", content=f"What causes {word}?")] for word in WORDS])
    settings = PolicySettings.model_validate(
        {
            "optimiser": {"learning_rate": 1e-2, "warmup_steps": 1, "schedule": "constant"}, "adapters": ADAPTERS, "steps": 5, "prompts_per_step": 4,
            "completions": 4, "max_new_tokens": 6, "epochs": 1, "precision": "float32", "mask_truncated": False, "checkpoint_every": 2, "refill_rounds": 0,
        } | changes
    )  # fmt: skip
    calls = iter(range(1000))

    def reward(asked, texts):
        if next(calls) >= fails_at:
            raise _PowerCut
        return [{"correct": text.count("a") / max(len(text), 1)} for text in texts]

    optimise_policy(
        model, [PolicyPrompt(word, "toy", tuple(ids)) for word, ids in zip(WORDS, prompts, strict=True)], reward, sampler=NativeSampler(model, tokenizer),
        settings=settings, seed=11, recorder=Recorder(folder / "record"), checkpoints=CheckpointFolder(folder / "checkpoints", key="k"),
        measure=measure,
    )  # fmt: skip
    return [entry["values"] for entry in read_record(folder / "record") if entry["kind"] == "metrics" and "kl" in entry["values"]]


def test_a_policy_starts_at_its_own_base_and_the_sampler_follows_its_adapters(tiny_model, tiny_tokenizer, tmp_path):
    before = copy.deepcopy(tiny_model).state_dict()
    steps = _policy_run(tiny_model, tiny_tokenizer, tmp_path)
    assert steps[0]["kl"] == 0.0
    assert steps[0]["ratio_error"] == 0.0
    assert steps[-1]["kl"] > 1e-4  # the base, not the policy, is what it is measured against
    assert max(step["sampler_gap"] for step in steps) < 1e-4
    assert reference_model(tiny_model) is tiny_model  # no second copy
    _assert_equal(_base_part(tiny_model, before), before)


def test_a_policy_with_adapters_has_the_kl_of_one_with_a_copied_reference(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    base = copy.deepcopy(tiny_model)
    other = copy.deepcopy(tiny_model)
    own = _policy_run(tiny_model, tiny_tokenizer, tmp_path / "own")
    monkeypatch.setattr("components.training.policy.loop.reference_model", lambda model: base)
    copied = _policy_run(other, tiny_tokenizer, tmp_path / "copied")
    assert [step["kl"] for step in own] == [step["kl"] for step in copied]


def test_the_adapters_of_the_best_look_are_put_back(tiny_model, tiny_tokenizer, tmp_path):
    before = copy.deepcopy(tiny_model).state_dict()
    scores = iter([1.0, 0.5, 0.2, 0.1])  # the look before the first step is the best one
    _policy_run(tiny_model, tiny_tokenizer, tmp_path, measure=lambda model: next(scores), validate_every=2)
    _assert_equal(merged_state(tiny_model), before)


@pytest.mark.parametrize("fails_at", [1, 4])
def test_a_cut_policy_run_ends_bit_for_bit_as_an_undisturbed_one(tiny_model, tiny_tokenizer, tmp_path, fails_at):
    whole, cut, resumed = (copy.deepcopy(tiny_model) for _ in range(3))
    _policy_run(whole, tiny_tokenizer, tmp_path / "whole")
    with pytest.raises(_PowerCut):
        _policy_run(cut, tiny_tokenizer, tmp_path / "cut", fails_at=fails_at)
    _policy_run(resumed, tiny_tokenizer, tmp_path / "cut")
    _assert_equal(resumed.state_dict(), whole.state_dict())


def _pairs(count=24):
    return [
        PreferencePair(
            id=str(number), dimension="honesty", messages=(Message(role="user", content=f"What causes {WORDS[number % 4]}?"),),
            chosen=f"Asthma causes wheeze {number}.", rejected=f"A man of 45 shows consolidation {number}.", margin=0.5,
        )
        for number in range(count)
    ]  # fmt: skip


def test_a_reward_model_tunes_its_head_beside_the_adapters_and_is_saved_plain(tiny_tokenizer, tmp_path):
    shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=4, key_value_heads=2, head_dimension=8, intermediate=48, context=128)
    model = create_reward_model(create_model(shape, tokenizer=tiny_tokenizer, seed=1), seed=1)
    before = copy.deepcopy(model).state_dict()
    tune_reward_model(
        model, tiny_tokenizer, _pairs(), settings=_settings(steps=12), centring=0.01, margin_scale=0.0, seed=5,
        recorder=Recorder(tmp_path / "record"), name="toy", checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"),
    )  # fmt: skip
    chosen, rejected = score_pairs(model, tiny_tokenizer, _pairs(), precision="float32")
    assert bool((chosen > rejected).all())
    assert not torch.equal(model.score.weight, before["score.weight"])
    _assert_equal({name: value for name, value in _base_part(model, before).items() if name != "score.weight"}, {name: value for name, value in before.items() if name != "score.weight"})
    save_reward_model(model, tiny_tokenizer, tmp_path / "saved", mean=0.0, scale=1.0)
    loaded = RewardModel.load(tmp_path / "saved")
    torch.testing.assert_close(score_pairs(loaded.model, tiny_tokenizer, _pairs(), precision="float32")[0], chosen, rtol=0, atol=1e-5)


def _preference_run(model, tokenizer, folder, *, fails_at=-1):
    recorder = _FailingRecorder(folder / "record")
    recorder.fails_at = fails_at
    settings = DirectPreferenceSettings(
        optimiser=OptimiserSettings(learning_rate=1e-2, warmup_steps=2), adapters=ADAPTERS, steps=8, batch_pairs=8, checkpoint_every=2, precision="float32",
        fall_limit=50.0,
    )  # fmt: skip
    result = tune_on_preferences(
        model, tokenizer, _pairs(), settings=settings, seed=5, recorder=recorder, checkpoints=CheckpointFolder(folder / "checkpoints", key="k"),
        validation=_pairs(4),
    )  # fmt: skip
    first = next(entry["values"] for entry in read_record(folder / "record") if entry["kind"] == "metrics" and "preference/gradient_norm" in entry["values"])
    return result, first


def test_preferences_are_learned_by_adapters_that_start_at_their_base_which_stays(tiny_model, tiny_tokenizer, tmp_path):
    before = copy.deepcopy(tiny_model).state_dict()
    result, first = _preference_run(tiny_model, tiny_tokenizer, tmp_path)
    assert (first["preference/reward_chosen"], first["preference/reward_rejected"]) == (0.0, 0.0)  # the base is the reference
    assert (result.before.accuracy, result.after.accuracy) == (0.5, 1.0)
    _assert_equal(_base_part(tiny_model, before), before)


@pytest.mark.parametrize("fails_at", [1, 5])
def test_a_cut_preference_run_ends_bit_for_bit_as_an_undisturbed_one(tiny_model, tiny_tokenizer, tmp_path, fails_at):
    whole, cut, resumed = (copy.deepcopy(tiny_model) for _ in range(3))
    expected = _preference_run(whole, tiny_tokenizer, tmp_path / "whole")
    with pytest.raises(_PowerCut):
        _preference_run(cut, tiny_tokenizer, tmp_path / "cut", fails_at=fails_at)
    assert _preference_run(resumed, tiny_tokenizer, tmp_path / "cut")[0] == expected[0]
    _assert_equal(resumed.state_dict(), whole.state_dict())
