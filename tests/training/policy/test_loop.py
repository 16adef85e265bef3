"""The GRPO loop end to end on a tiny model: it learns, and a killed run goes on to the same bits."""

import dataclasses
import json
import math
import os
import signal

import pytest
import torch

from components.errors import Diverged, Preempted, StorageError
from components.generation.native_sampler import NativeSampler
from components.recorder import Recorder, read_record, without_timings
from components.storage.checkpoints import CheckpointFolder
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.policy.prompts import prompts_for_epochs
from components.training.policy.refusals import refuse_drift_at_start
from components.training.policy.update import UpdateStatistics
from components.training.preemption import stop_signals


class Killed(Exception):
    pass


def _train(model, tokenizer, prompts, reward, settings, folder, **options):
    return optimise_policy(
        model, prompts, reward, sampler=NativeSampler(model, tokenizer), settings=settings, seed=11,
        recorder=Recorder(folder / "record"), checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), **options,
    )  # fmt: skip


def _metrics(folder):
    lines = [entry for entry in read_record(folder / "record") if entry["kind"] == "metrics"]
    return [(entry["step"], dict.fromkeys(entry["values"]) | without_timings(entry["values"])) for entry in lines]  # of timings, the names


def test_reward_rises_on_a_toy_verifier(tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings):
    # The best policy writes one letter for certain, tens of nats from the random reference: the limit has its own test below.
    settings = toy_settings(steps=60, kl_weight=0.001, kl_limit=200.0)
    result = _train(tiny_model(), tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path)
    # A random model writes the letter in a few per cent of its characters; every answer could be all a's.
    assert result.summary["reward_first"] < 0.15
    assert result.summary["reward_last"] > 0.5


def test_first_step_has_no_kl_a_ratio_of_one_and_the_sampler_agrees(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    _train(tiny_model(), tiny_tokenizer, toy_prompts, vowel_reward, toy_settings(steps=2, temperature=0.7), tmp_path)
    steps = [values for _, values in _metrics(tmp_path) if "kl" in values]
    assert steps[0]["kl"] == 0.0
    assert steps[0]["ratio_error"] == 0.0
    assert steps[0]["sampler_gap"] < 1e-4  # log-probabilities of sampler and trainer, at the same temperature
    assert steps[1]["kl"] > 0.0


def test_a_policy_that_does_not_start_at_its_reference_is_refused():
    with pytest.raises(Diverged, match="before the first step"):
        refuse_drift_at_start(UpdateStatistics(tokens=10, kl_sum=0.01))


@pytest.mark.parametrize("killed_at", [3, 9])
def test_a_killed_run_goes_on_to_the_same_weights_and_metrics(
    killed_at, tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=14, refill_rounds=1, mastered_pass_rate=0.4)
    whole = tiny_model()
    _train(whole, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "whole")

    calls = iter(range(1000))

    def failing(prompts, texts):
        if next(calls) >= killed_at:
            raise Killed
        return vowel_reward(prompts, texts)

    with pytest.raises(Killed):
        _train(tiny_model(), tiny_tokenizer, toy_prompts, failing, settings, tmp_path / "cut")
    resumed = tiny_model()
    _train(resumed, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "cut")

    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name
    assert _metrics(tmp_path / "whole") == _metrics(tmp_path / "cut")


@pytest.mark.parametrize("loss", ["dapo", "gspo"])
def test_several_updates_a_rollout_are_clipped_and_resume_to_the_same_weights(
    loss, tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=4, loss=loss, updates_per_rollout=4, checkpoint_every=1, entropy_weight=0.01)
    whole = tiny_model()
    _train(whole, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "whole")
    steps = [values for _, values in _metrics(tmp_path / "whole") if "kl" in values]
    assert all(values["ratio_error"] > 0 for values in steps)
    assert max(values["clip_share"] for values in steps) > 0
    checkpoint, _ = CheckpointFolder(tmp_path / "whole" / "checkpoints", key="k").latest()
    taken = {int(value) for name, value in checkpoint.tensors.items() if name.endswith(".step")}
    assert taken == {16}  # optimiser steps: 4 rollouts of 4 updates

    calls = iter(range(1000))

    def failing(prompts, texts):
        if next(calls) >= 2:
            raise Killed
        return vowel_reward(prompts, texts)

    with pytest.raises(Killed):
        _train(tiny_model(), tiny_tokenizer, toy_prompts, failing, settings, tmp_path / "cut")
    resumed = tiny_model()
    _train(resumed, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "cut")
    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name
    assert _metrics(tmp_path / "whole") == _metrics(tmp_path / "cut")


def test_groups_of_32_answers_with_verifier_rollouts_and_an_overlong_penalty(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, toy_settings
):
    seen = []

    def judge(prompts, texts):
        seen.append(len(texts))
        return [{"correct": float("a" in text)} if index % 2 else {"correct": None} for index, text in enumerate(texts)]

    settings = toy_settings(
        steps=2, prompts_per_step=2, completions=32, verifier_rollouts=2, overlong_buffer=3, table_every=1,
        reward_weights={"overlong": 0.5},
    )  # fmt: skip
    _train(tiny_model(), tiny_tokenizer, toy_prompts, judge, settings, tmp_path)
    assert seen == [2 * 32 * 2] * 2
    first = next(values for _, values in _metrics(tmp_path) if "kl" in values)
    assert first["unscored_answers"] == 0  # one judgement of each two failed
    assert -1.0 <= first["reward/overlong"] < 0.0
    assert first["reward"] == pytest.approx(first["reward/correct"] + 0.5 * first["reward/overlong"], abs=1e-6)
    assert first["live_groups"] > 0 and first["kl"] == 0.0 and first["ratio_error"] == 0.0


def test_a_checkpoint_of_other_prompts_is_refused(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=2, prompts_per_step=4)
    _train(tiny_model(), tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path)
    with pytest.raises(StorageError, match="another prompts"):
        _train(tiny_model(), tiny_tokenizer, toy_prompts[:-1], vowel_reward, settings, tmp_path)
    changed = [dataclasses.replace(toy_prompts[0], ids=toy_prompts[0].ids[:-1]), *toy_prompts[1:]]  # under the same id
    with pytest.raises(StorageError, match="another prompts"):
        _train(tiny_model(), tiny_tokenizer, changed, vowel_reward, settings, tmp_path)


def test_an_unscored_answer_leaves_no_trace_in_the_weights(tmp_path, tiny_model, tiny_tokenizer, toy_prompts, toy_settings):
    # Whether the failed answers are the ones with most letters or not must not matter, as it would if they were scored 0.
    def reward(scale):
        return lambda prompts, texts: [
            {"correct": None if index % 4 == 0 else text.count("a") / max(len(text), 1), "other": scale if index % 4 == 0 else 0.0}
            for index, text in enumerate(texts)
        ]

    results = []
    for scale in (0.0, 100.0):
        model = tiny_model()
        _train(model, tiny_tokenizer, toy_prompts, reward(scale), toy_settings(steps=1), tmp_path / str(scale))
        results.append(model.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    values = next(values for _, values in _metrics(tmp_path / "0.0") if "kl" in values)
    assert values["unscored_answers"] == 16  # every fourth of 8 × 8


def test_a_checkpoint_of_another_reference_is_refused(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=4)
    _train(tiny_model(seed=3), tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path)
    with pytest.raises(StorageError, match="another reference"):
        _train(tiny_model(seed=4), tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path)


class PoisoningRecorder(Recorder):
    """Spoils a weight after the metrics of a step, as a fault of the hardware would."""

    def __init__(self, folder, *, model, after):
        super().__init__(folder)
        self.model, self.after = model, after

    def metrics(self, values, *, step):
        super().metrics(values, step=step)
        if step == self.after and "kl" in values:
            poison(self.model)


@pytest.mark.parametrize("moment", ["before sampling", "before the update"])
def test_a_poisoned_weight_stops_the_run_and_the_evidence_is_kept(
    moment, tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    model, calls = tiny_model(), iter(range(1000))

    def reward(prompts, texts):
        if next(calls) == 5 and moment == "before the update":
            poison(model)
        return vowel_reward(prompts, texts)

    with pytest.raises(Diverged, match=r"step 5: .*\(kept: the state after step 4; evidence: .*diverged\.json\)"):
        optimise_policy(
            model, toy_prompts, reward, sampler=NativeSampler(model, tiny_tokenizer), settings=toy_settings(steps=14), seed=11,
            recorder=PoisoningRecorder(tmp_path / "record", model=model, after=4 if moment == "before sampling" else -1),
            checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"),
        )  # fmt: skip
    evidence = json.loads((tmp_path / "checkpoints" / "diverged.json").read_text())
    assert (evidence["step"], evidence["last_good_step"], len(evidence["losses_before"])) == (5, 4, 5)
    assert sorted(evidence["batch"]) == sorted(prompt.id for prompt in toy_prompts)
    checkpoint, _ = CheckpointFolder(tmp_path / "checkpoints", key="k").latest()
    assert checkpoint.step == 4 and all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


def poison(model):
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan


def test_told_to_stop_the_run_goes_on_later_to_the_same_weights_and_metrics(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=9)
    whole, calls = tiny_model(), iter(range(1000))
    _train(whole, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "whole")

    def reward(prompts, texts):
        if next(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return vowel_reward(prompts, texts)

    with stop_signals(grace_seconds=30), pytest.raises(Preempted, match="saved after step 6 of 9"):
        _train(tiny_model(), tiny_tokenizer, toy_prompts, reward, settings, tmp_path / "cut")
    resumed = tiny_model()
    _train(resumed, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "cut")
    assert all(torch.equal(whole.state_dict()[name], value) for name, value in resumed.state_dict().items())
    assert _metrics(tmp_path / "whole") == _metrics(tmp_path / "cut")


def test_a_kl_above_the_limit_stops_the_run_and_keeps_the_checkpoint(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    optimiser = {"learning_rate": 2e-2, "warmup_steps": 0, "schedule": "constant"}
    settings = toy_settings(steps=40, optimiser=optimiser, kl_limit=0.5, checkpoint_every=1)
    with pytest.raises(Diverged, match=r"step \d+: KL to the reference"):
        _train(tiny_model(), tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path)
    checkpoint, warnings = CheckpointFolder(tmp_path / "checkpoints", key="k").latest()
    assert checkpoint is not None and not warnings
    assert json.loads((tmp_path / "checkpoints" / "diverged.json").read_text())["values"]["kl"] > 0.5
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


def test_prompts_are_cut_so_that_the_epochs_fit_the_steps(toy_settings):
    prompts = [PolicyPrompt(f"p{index:03d}", "toy", (1,)) for index in range(100)]
    # 30 steps of 8 prompts are 240: three epochs of 80.
    assert len(prompts_for_epochs(prompts, toy_settings(epochs=3), seed=1)) == 80
    assert prompts_for_epochs(prompts, toy_settings(epochs=2), seed=1) == prompts


def test_mastered_prompts_leave_at_the_next_epoch(tmp_path, tiny_model, tiny_tokenizer, toy_prompts, toy_settings):
    mastered = {"asthma", "gout", "angina"}

    def reward(prompts, texts):
        return [{"correct": 1.0 if prompt.id in mastered else text.count("a") / max(len(text), 1)} for prompt, text in zip(prompts, texts, strict=True)]

    settings = toy_settings(steps=6, prompts_per_step=4, readmission=0.0)
    result = _train(tiny_model(), tiny_tokenizer, toy_prompts, reward, settings, tmp_path)
    assert [(epoch["active"], epoch["mastered"]) for epoch in result.history[:2]] == [(8, 0), (5, 3)]


def _scripted(scores):
    """Return a measure that says these scores in turn, whatever the model."""
    said = iter(scores)
    return lambda model: next(said)


def test_the_weights_of_the_best_look_are_kept_and_patience_ends_the_run(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=12, validate_every=2, patience=2)
    model, undisturbed = tiny_model(), tiny_model()
    # Looks after 0, 2, 4, 6 and 8 steps: the best at 4, then two without a gain.
    result = _train(model, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "kept", measure=_scripted([0.1, 0.2, 0.5, 0.4, 0.3]))
    assert result.steps == 8
    assert (result.summary["kept_step"], result.summary["kept_score"]) == (4.0, 0.5)
    _train(undisturbed, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings(steps=4), tmp_path / "four")
    for (name, expected), actual in zip(undisturbed.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name


def test_a_killed_run_keeps_its_looks_and_its_best_weights(
    tmp_path, tiny_model, tiny_tokenizer, toy_prompts, vowel_reward, toy_settings
):
    settings = toy_settings(steps=10, validate_every=2, checkpoint_every=4)
    whole, resumed = tiny_model(), tiny_model()
    scores = [0.1, 0.5, 0.2, 0.2, 0.3, 0.4]  # after 0, 2, 4, 6, 8 and 10 steps
    _train(whole, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "whole", measure=_scripted(scores))
    calls = iter(range(1000))

    def failing(prompts, texts):
        if next(calls) >= 5:
            raise Killed
        return vowel_reward(prompts, texts)

    with pytest.raises(Killed):
        _train(tiny_model(), tiny_tokenizer, toy_prompts, failing, settings, tmp_path / "cut", measure=_scripted(scores))
    # The checkpoint after 4 steps holds three looks; three are left.
    _train(resumed, tiny_tokenizer, toy_prompts, vowel_reward, settings, tmp_path / "cut", measure=_scripted(scores[3:]))
    assert _metrics(tmp_path / "whole") == _metrics(tmp_path / "cut")
    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name
