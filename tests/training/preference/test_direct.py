"""Direct preference tuning: it starts at its reference, learns what is preferred, and a killed run is the undisturbed one."""

import json
import math
import os
import signal
from functools import partial

import pytest
import torch

from components.conversations import Message, PreferencePair
from components.errors import DataError, Diverged, Preempted, StorageError
from components.modeling.tokenizers import encode_samples
from components.recorder import Recorder, read_record, without_timings
from components.storage.checkpoints import CheckpointFolder
from components.training.engines.sharing import Pass
from components.training.preemption import stop_signals
from components.training.preference import answer_logprobs
from components.training.preference.answer_logprobs import encode_whole_answers, micro_batches, reference_logprobs
from components.training.preference.direct import tune_on_preferences
from components.training.preference.prompt_pairs import group_pairs, plan_batches


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def metrics(folder):
    return [(entry["step"], dict.fromkeys(entry["values"]) | without_timings(entry["values"])) for entry in read_record(folder) if entry["kind"] == "metrics"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("loss", "smoothing", "expected"), [("dpo", 0.0, math.log(2)), ("cdpo", 0.1, math.log(2)), ("ipo", 0.0, 25.0)])
def test_the_first_step_stands_at_its_reference(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings, loss, smoothing, expected, precision):
    settings = direct_settings(steps=1, loss=loss, label_smoothing=smoothing, precision=precision, micro_tokens=128)
    tune_on_preferences(toy_model(), toy_tokenizer, toy_pairs(20, 1), settings=settings, seed=1, recorder=Recorder(tmp_path), name="p", validation=toy_pairs(9, 2))
    look, first = (values for _, values in metrics(tmp_path)[:2])
    assert first["p/loss"] == pytest.approx(expected, abs=1e-6)  # dpo: −log σ(0) = log 2
    assert look["p/validation_loss"] == pytest.approx(expected, abs=1e-6)
    # exactly: policy and reference went through the same passes (`reference_logprobs`)
    assert (first["p/log_ratio_chosen"], first["p/log_ratio_rejected"], first["p/margin"], first["p/accuracy"]) == (0.0, 0.0, 0.0, 0.5)
    assert first["p/gradient_norm"] > 0


@pytest.mark.parametrize(("loss", "changes"), [("dpo", {}), ("ipo", {"beta": 0.05}), ("cdpo", {"label_smoothing": 0.1})])
def test_a_preference_is_learned_and_holds_for_new_pairs(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings, loss, changes):
    result = tune_on_preferences(
        toy_model(), toy_tokenizer, toy_pairs(60, 1), settings=direct_settings(loss=loss, steps=20, **changes), seed=1, recorder=Recorder(tmp_path),
        validation=toy_pairs(30, 2),
    )  # fmt: skip
    assert (result.before.accuracy, result.before.margin) == (0.5, 0.0)
    assert result.before.likelihood_accuracy < 0.8
    assert result.after.accuracy > 0.95 and result.after.likelihood_accuracy > 0.95
    assert result.after.loss < 0.9 * result.before.loss
    assert (result.steps, result.pairs, result.skipped) == (20, 60, 0)


def test_the_supervised_term_keeps_preferred_answers_probable(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    losses = []
    for weight in (0.0, 1.0):
        recorder = Recorder(tmp_path / str(weight))
        settings = direct_settings(supervised_weight=weight)
        tune_on_preferences(toy_model(), toy_tokenizer, toy_pairs(30, 1), settings=settings, seed=1, recorder=recorder, name="p")
        losses.append(metrics(recorder.folder)[-1][1]["p/chosen_loss"])
    assert losses[1] < losses[0] - 0.5  # nats a token


class KilledRecorder(Recorder):
    """Ends the process, as far as the caller can tell, as the loss of one step is recorded."""

    killed_at = -1

    def metrics(self, values, *, step):
        super().metrics(values, step=step)
        if step == self.killed_at and "p/gradient_norm" in values:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def resumable(toy_model, toy_tokenizer, toy_pairs, direct_settings):
    """Return a run of eight steps in a folder, killed at one of them (-1: never): its result and its weights."""

    def attempt(folder, killed_at=-1):
        recorder, model = KilledRecorder(folder), toy_model()
        recorder.killed_at = killed_at
        result = tune_on_preferences(
            model, toy_tokenizer, toy_pairs(18, 1), settings=direct_settings(steps=8, batch_pairs=6, checkpoint_every=3, validate_every=4, micro_tokens=128),
            seed=5, recorder=recorder, name="p", checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), validation=toy_pairs(6, 2),
        )  # fmt: skip
        return result, weights(model)

    return attempt


@pytest.fixture(scope="module")
def undisturbed(resumable, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return *resumable(folder), metrics(folder)


@pytest.mark.parametrize("killed_at", [(0,), (4, 5), (7,)])
def test_a_killed_tuning_goes_on_to_the_same_weights_and_record(tmp_path, resumable, undisturbed, killed_at):
    expected, expected_weights, expected_metrics = undisturbed
    for step in killed_at:
        with pytest.raises(KeyboardInterrupt):
            resumable(tmp_path, step)
    result, resumed = resumable(tmp_path)
    assert torch.equal(resumed, expected_weights)
    assert result == expected
    assert metrics(tmp_path) == expected_metrics
    assert [step for step, values in expected_metrics if "p/validation_loss" in values] == [0, 4, 8]


def test_a_finished_tuning_says_again_how_it_went(tmp_path, resumable, undisturbed):
    resumable(tmp_path)
    result, again = resumable(tmp_path)
    assert result == undisturbed[0] and torch.equal(again, undisturbed[1])
    assert metrics(tmp_path) == undisturbed[2]


def test_a_checkpoint_of_other_pairs_or_another_reference_is_refused(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    def attempt(model, pairs, validation):
        tune_on_preferences(
            model, toy_tokenizer, pairs, settings=direct_settings(steps=2), seed=1, recorder=Recorder(tmp_path), validation=validation,
            checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"),
        )  # fmt: skip

    pairs, validation = toy_pairs(20, 1), toy_pairs(3, 2)
    attempt(toy_model(), pairs, validation)
    swapped = [pairs[0].model_copy(update={"chosen": pairs[0].rejected, "rejected": pairs[0].chosen}), *pairs[1:]]  # same ids, another label
    for others, held_out in ((swapped, validation), (pairs, toy_pairs(3, 3))):
        with pytest.raises(StorageError, match="other pairs"):
            attempt(toy_model(), others, held_out)
    with pytest.raises(StorageError, match="other reference"):
        attempt(toy_model(seed=2), pairs, validation)
    attempt(toy_model(), pairs, validation)


def test_long_pairs_and_pairs_without_a_difference_are_left_out_and_counted(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    pairs = toy_pairs(6, 1)
    long = pairs[0].model_copy(update={"rejected": "salt " * 200})  # shares its prompt with two pairs that fit
    same = pairs[1].model_copy(update={"rejected": pairs[1].chosen})
    settings = direct_settings(steps=1)
    result = tune_on_preferences(toy_model(), toy_tokenizer, [*pairs, long, same], settings=settings, seed=1, recorder=Recorder(tmp_path))
    assert (result.pairs, result.skipped, result.before) == (6, 2, None)
    for unusable in ([], [long, same]):
        with pytest.raises(DataError, match="context of 96 tokens"):
            tune_on_preferences(toy_model(), toy_tokenizer, unusable, settings=settings, seed=1, recorder=Recorder(tmp_path))


def test_answers_are_tokenised_as_in_supervised_tuning_reasoning_and_end_of_turn_included(toy_tokenizer):
    messages, answer = (Message(role="user", content="what helps?"),), "<think>tea or salt</think>tea helps."
    ((prompt, ids),) = encode_whole_answers(toy_tokenizer, [messages], [answer])
    ((whole, mask),) = encode_samples(toy_tokenizer, [[*messages, Message(role="assistant", content=answer)]])
    assert list(ids) == [token for token, is_answer in zip(whole, mask, strict=True) if is_answer]
    assert [*prompt, *ids] == whole[: len(prompt) + len(ids)]


def test_the_reference_is_scored_in_the_passes_of_the_first_steps(toy_tokenizer, toy_pairs, monkeypatch):
    groups, passes = group_pairs(toy_pairs(15, 1), partial(encode_whole_answers, toy_tokenizer)), []

    def scored(model, some, *, precision):
        passes.append([groups.index(group) for group in some])
        return torch.full((sum(len(group.answers) for group in some),), float(len(passes)))

    monkeypatch.setattr(answer_logprobs, "answer_logprobs", scored)
    most = 2 * max(group.tokens for group in groups)
    cut = lambda batch: [Pass(part) for part in micro_batches(groups, batch, micro_tokens=most)]  # noqa: E731
    found = reference_logprobs(None, groups, [[3, 1, 0], [1, 3], [0, 2]], passes=cut, precision="float32")
    # two prompts a pass; a pass with nothing new is left out; prompt 4 stands in no batch
    assert passes == [[3, 1], [0], [0, 2]]
    assert [values.unique().tolist() for values in found[:4]] == [[2.0], [1.0], [3.0], [1.0]]
    assert not found[4].any() and [len(values) for values in found] == [len(group.answers) for group in groups]


def test_pairs_that_no_step_comes_to_do_not_stop_a_run_that_is_saved(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", key="k")
    settings = direct_settings(steps=1, batch_pairs=3)
    result = tune_on_preferences(
        toy_model(), toy_tokenizer, toy_pairs(12, 1), settings=settings, seed=1, recorder=Recorder(tmp_path), checkpoints=checkpoints
    )  # their references are unknown: an earlier form kept them as NaN, which a checkpoint refuses
    assert (result.steps, checkpoints.newest_step()) == (1, 1)


def test_an_answer_with_a_control_token_is_refused(toy_tokenizer):
    with pytest.raises(DataError, match="im_end"):
        encode_whole_answers(toy_tokenizer, [(Message(role="user", content="q"),)], ["tea<|im_end|>"])


def test_a_run_that_loses_its_preferred_answers_stops_with_the_weights_of_the_step_before(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    # The preferred answer repeats the other one, so pushing the other down pushes both down.
    pair = PreferencePair(id="0", dimension="honesty", messages=(Message(role="user", content="what?"),), chosen="tea helps tea helps", rejected="tea helps")
    settings = direct_settings(optimiser={"learning_rate": 0.05, "warmup_steps": 0}, steps=200, fall_limit=0.001, batch_pairs=1)
    model, folder = toy_model(), CheckpointFolder(tmp_path / "checkpoints", key="k")
    with pytest.raises(Diverged, match="fall_limit"):
        tune_on_preferences(model, toy_tokenizer, [pair], settings=settings, seed=1, recorder=Recorder(tmp_path), checkpoints=folder)
    done = max(step for step, values in metrics(tmp_path)) + 1
    resumed = toy_model()
    with pytest.raises(Diverged, match=f"step {done}"):
        tune_on_preferences(resumed, toy_tokenizer, [pair], settings=settings, seed=1, recorder=Recorder(tmp_path), checkpoints=folder)
    assert torch.equal(weights(resumed), weights(model))


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(tmp_path, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    model = toy_model()
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    before = weights(model).clone()
    with pytest.raises(Diverged, match=r"step 0: .*loss is nan"):
        tune_on_preferences(model, toy_tokenizer, toy_pairs(6, 1), settings=direct_settings(), seed=1, recorder=Recorder(tmp_path))
    assert torch.equal(weights(model).nan_to_num(9.0), before.nan_to_num(9.0))


def test_a_poisoned_weight_stops_the_run_and_the_evidence_is_kept(tmp_path, acting_recorder, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    model, pairs = toy_model(), toy_pairs(24, 1)

    def poison():
        with torch.no_grad():
            model.model.norm.weight[0] = math.nan

    with pytest.raises(Diverged, match=r"step 4: .*loss is nan.*kept: the state after step 3; evidence: .*diverged\.json"):
        tune_on_preferences(
            model, toy_tokenizer, pairs, settings=direct_settings(steps=8, checkpoint_every=3), seed=1,
            recorder=acting_recorder(tmp_path, after=3, act=poison), checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"),
        )  # fmt: skip
    evidence = json.loads((tmp_path / "checkpoints" / "diverged.json").read_text())
    assert (evidence["step"], evidence["last_good_step"], evidence["values"]["loss"], len(evidence["losses_before"])) == (4, 3, "nan", 4)
    assert evidence["batch"] and set(evidence["batch"]) <= {pair.id for pair in pairs}


def test_told_to_stop_the_run_goes_on_later_to_the_same_weights(tmp_path, acting_recorder, toy_model, toy_tokenizer, toy_pairs, direct_settings):
    def attempt(folder, after):
        model = toy_model()
        tune_on_preferences(
            model, toy_tokenizer, toy_pairs(24, 1), settings=direct_settings(steps=8, checkpoint_every=50), seed=1, validation=toy_pairs(9, 2),
            recorder=acting_recorder(folder, after=after, act=lambda: os.kill(os.getpid(), signal.SIGTERM)),
            checkpoints=CheckpointFolder(folder / "checkpoints", key="k"),
        )  # fmt: skip
        return weights(model)

    with stop_signals(grace_seconds=60), pytest.raises(Preempted, match="saved after step 6 of 8"):
        attempt(tmp_path / "cut", 5)
    assert torch.equal(attempt(tmp_path / "cut", -1), attempt(tmp_path / "whole", -1))
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_plan_takes_whole_prompts_and_every_one_once_an_epoch(toy_tokenizer, toy_pairs):
    groups = group_pairs(toy_pairs(24, 1), partial(encode_whole_answers, toy_tokenizer))  # 8 prompts of 3 pairs
    plan = plan_batches(groups, steps=4, batch_pairs=10, seed=3)
    assert [len(batch) for batch in plan] == [4, 4, 4, 4]  # 12 pairs: the first whole number of prompts with 10 or more
    assert sorted(plan[0] + plan[1]) == sorted(plan[2] + plan[3]) == list(range(8))
    assert plan[:2] != plan[2:]
    assert plan == plan_batches(groups, steps=4, batch_pairs=10, seed=3) != plan_batches(groups, steps=4, batch_pairs=10, seed=4)


def test_one_text_said_by_two_roles_is_two_prompts(toy_tokenizer):
    turns = [(Message(role=role, content="tea"), Message(role="user", content="what helps?")) for role in ("system", "user")]
    pairs = [PreferencePair(id=str(n), dimension="honesty", messages=messages, chosen="a", rejected="b") for n, messages in enumerate(turns)]
    groups = group_pairs(pairs, partial(encode_whole_answers, toy_tokenizer))
    assert len(groups) == 2 and groups[0].answers[0][0] != groups[1].answers[0][0]
