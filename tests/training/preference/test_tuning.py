"""Tuning a reward model: it learns a preference, a prompt's pairs stay together, micro-batches do not matter."""

import contextlib
import json
import os
import random
import signal
from functools import partial

import pytest
import torch

from components.conversations import Message, PreferencePair
from components.errors import DataError, Diverged, Preempted, StorageError
from components.modeling.models import create_model
from components.modeling.tokenizers import train_tokenizer
from components.recorder import Recorder, read_record, without_timings
from components.rewards.reward_model import RewardModel, create_reward_model, encode_answers, save_reward_model
from components.settings.training import ModelSettings, SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.engines.creation import create_engine
from components.training.preemption import stop_signals
from components.training.preference.bradley_terry import bradley_terry_loss, pair_accuracy
from components.training.preference.prompt_pairs import group_pairs
from components.training.preference.tuning import accumulate_gradients, score_pairs, tune_reward_model

GOOD, BAD = ("rest", "water", "sleep", "tea"), ("smoke", "beer", "stress", "salt")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"what helps? {word} helps" for word in (*GOOD, *BAD)], vocabulary=512)


def make_pairs(count: int, seed: int) -> list[PreferencePair]:
    """The better answer names two good things, the worse one two bad ones, in any order."""
    draw = random.Random(seed)
    pairs = []
    for index in range(count):
        question = (Message(role="user", content=f"what helps {index // 3}?"),)
        chosen, rejected = (f"{' and '.join(draw.sample(words, 2))} helps." for words in (GOOD, BAD))
        pairs.append(
            PreferencePair(id=f"{seed}-{index}", dimension="honesty", messages=question, chosen=chosen, rejected=rejected, margin=0.5)
        )
    return pairs


def reward_model(tokenizer, seed: int = 1):
    shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=64)
    return create_reward_model(create_model(shape, tokenizer=tokenizer, seed=seed), seed=seed)


def settings(**changes) -> SupervisedSettings:
    optimiser = {"learning_rate": 3e-3, "warmup_steps": 2}
    return SupervisedSettings.model_validate({"optimiser": optimiser, "steps": 25, "batch_samples": 16, "precision": "float32"} | changes)


def test_a_preference_is_learned_and_holds_for_new_pairs(tmp_path, tokenizer):
    model = reward_model(tokenizer)
    held_out = make_pairs(60, seed=2)
    before = float(pair_accuracy(*score_pairs(model, tokenizer, held_out, precision="float32")).mean())
    tune_reward_model(
        model, tokenizer, make_pairs(90, seed=1), settings=settings(), centring=0.01, margin_scale=1.0, seed=5,
        recorder=Recorder(tmp_path), name="toy",
    )  # fmt: skip
    chosen, rejected = score_pairs(model, tokenizer, held_out, precision="float32")
    assert before < 0.9
    assert float(pair_accuracy(chosen, rejected).mean()) > 0.97
    assert abs(float((chosen + rejected).mean())) < 2.0  # centred: without the term the constant is free


def test_a_prompts_pairs_share_one_pass(tokenizer):
    pairs = make_pairs(6, seed=3)
    seventh = pairs[0].model_copy(update={"rejected": pairs[1].rejected})
    groups = group_pairs([*pairs, seventh], partial(encode_answers, tokenizer))
    assert [len(group.chosen) for group in groups] == [4, 3]  # the seventh joins the first prompt's
    first = groups[0]
    assert len(first.answers) <= 6 and len(set(first.answers)) == len(first.answers)
    assert (first.chosen[3], first.rejected[3]) == (first.chosen[0], first.rejected[1])


def _loss(chosen, rejected, margins):
    return bradley_terry_loss(chosen, rejected, margins_P=margins, centring=0.01)


def test_micro_batches_change_neither_loss_nor_gradient(tokenizer):
    groups = group_pairs(make_pairs(12, seed=4), partial(encode_answers, tokenizer))
    results = []
    for micro_tokens in (64, 100_000):
        model = reward_model(tokenizer)
        engine = create_engine(model, settings().optimiser)
        loss, _ = accumulate_gradients(engine, groups, loss=_loss, settings=settings(micro_tokens=micro_tokens), margin_scale=1.0)
        results.append((loss, torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=1e-6)


class KilledRecorder(Recorder):
    """Ends the process, as far as the caller can tell, at the metrics of one step of one model."""

    def __init__(self, folder, *, killed_at: tuple[str, int]) -> None:
        super().__init__(folder)
        self.killed_at = killed_at

    def metrics(self, values, *, step):
        super().metrics(values, step=step)
        if (next(iter(values)).split("/")[0], step) == self.killed_at:
            raise KeyboardInterrupt


def _tune_two(folder, tokenizer, recorder):
    """Tune two reward models that share a record, as the stage does; return their weights."""
    models = []
    for name, seed in (("first", 1), ("second", 2)):
        model = reward_model(tokenizer, seed)
        tune_reward_model(
            model, tokenizer, make_pairs(40, seed=seed), settings=settings(steps=12, checkpoint_every=5), centring=0.01, margin_scale=1.0,
            seed=5, recorder=recorder, name=name, checkpoints=CheckpointFolder(folder / "checkpoints", key="k").child(name),
        )  # fmt: skip
        models.append(model)
    return [torch.cat([parameter.detach().flatten() for parameter in model.parameters()]) for model in models]


def _metrics(folder):
    return [(entry["step"], dict.fromkeys(entry["values"]) | without_timings(entry["values"])) for entry in read_record(folder) if entry["kind"] == "metrics"]


@pytest.mark.parametrize("killed_at", [("first", 2), ("first", 7), ("first", 11), ("second", 0), ("second", 8)])
def test_a_killed_tuning_goes_on_to_the_same_weights_and_record(tmp_path, tokenizer, killed_at):
    expected = _tune_two(tmp_path / "whole", tokenizer, Recorder(tmp_path / "whole"))
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        _tune_two(folder, tokenizer, KilledRecorder(folder, killed_at=killed_at))
    resumed = _tune_two(folder, tokenizer, Recorder(folder))
    assert all(torch.equal(actual, wanted) for actual, wanted in zip(resumed, expected, strict=True))
    assert _metrics(folder) == _metrics(tmp_path / "whole")


def test_a_checkpoint_of_other_pairs_is_refused(tmp_path, tokenizer):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", key="k")
    for seed, expectation in ((1, contextlib.nullcontext()), (2, pytest.raises(StorageError, match="other pairs"))):
        with expectation:
            tune_reward_model(
                reward_model(tokenizer), tokenizer, make_pairs(20, seed=seed), settings=settings(steps=2), centring=0.0, margin_scale=0.0,
                seed=1, recorder=Recorder(tmp_path), name="toy", checkpoints=checkpoints,
            )  # fmt: skip


def test_a_checkpoint_of_pairs_whose_texts_changed_is_refused(tmp_path, tokenizer):
    checkpoints, pairs = CheckpointFolder(tmp_path / "checkpoints", key="k"), make_pairs(20, seed=1)
    changed = [pairs[0].model_copy(update={"chosen": "rest and rest helps."}), *pairs[1:]]  # under the same id
    for given, expectation in ((pairs, contextlib.nullcontext()), (changed, pytest.raises(StorageError, match="other pairs"))):
        with expectation:
            tune_reward_model(
                reward_model(tokenizer), tokenizer, given, settings=settings(steps=2), centring=0.0, margin_scale=0.0,
                seed=1, recorder=Recorder(tmp_path), name="toy", checkpoints=checkpoints,
            )  # fmt: skip


@pytest.fixture
def tune_acting(acting_recorder):
    """Return a tuning that does something after one step; it returns the weights."""

    def attempt(model, tokenizer, folder, *, after, act, steps=12):
        tune_reward_model(
            model, tokenizer, make_pairs(40, seed=1), settings=settings(steps=steps, checkpoint_every=5), centring=0.01, margin_scale=1.0,
            seed=5, recorder=acting_recorder(folder, after=after, act=act), name="toy", checkpoints=CheckpointFolder(folder / "checkpoints", key="k"),
        )  # fmt: skip
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    return attempt


@pytest.mark.parametrize(("factor", "after", "reason"), [(float("nan"), 6, "loss nan"), (-3000.0, 25, r"loss \d+.*mean loss of the 20")])
def test_poisoned_weights_stop_the_tuning_and_the_evidence_is_kept(tmp_path, tokenizer, tune_acting, factor, after, reason):
    model = reward_model(tokenizer)

    def act():
        with torch.no_grad():
            model.score.weight.mul_(factor)

    with pytest.raises(Diverged, match=rf"step {after + 1}: reward model toy: {reason}.*evidence: .*diverged\.json"):
        tune_acting(model, tokenizer, tmp_path, after=after, act=act, steps=40)
    evidence = json.loads((tmp_path / "checkpoints" / "diverged.json").read_text())
    assert (evidence["step"], evidence["last_good_step"]) == (after + 1, after // 5 * 5)
    assert len(evidence["losses_before"]) == min(20, after + 1)
    assert evidence["batch"] and set(evidence["batch"]) <= {f"1-{index}" for index in range(40)}


def test_told_to_stop_the_tuning_goes_on_later_to_the_same_weights(tmp_path, tokenizer, tune_acting):
    expected = tune_acting(reward_model(tokenizer), tokenizer, tmp_path / "whole", after=-1, act=None)
    with stop_signals(grace_seconds=30), pytest.raises(Preempted, match="saved after step 4 of 12"):
        tune_acting(reward_model(tokenizer), tokenizer, tmp_path / "cut", after=3, act=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert torch.equal(tune_acting(reward_model(tokenizer), tokenizer, tmp_path / "cut", after=-1, act=None), expected)
    assert _metrics(tmp_path / "cut") == _metrics(tmp_path / "whole")


def test_without_pairs_there_is_a_clear_error(tmp_path, tokenizer):
    with pytest.raises(DataError, match="no preference pairs"):
        tune_reward_model(
            reward_model(tokenizer), tokenizer, [], settings=settings(), centring=0.0, margin_scale=0.0, seed=1,
            recorder=Recorder(tmp_path), name="toy",
        )  # fmt: skip


def test_transformers_loads_the_folder_and_scores_alike(tmp_path, tokenizer):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = reward_model(tokenizer)
    save_reward_model(model, tokenizer, tmp_path, mean=0.25, scale=2.0)
    questions = [[Message(role="user", content="what helps?")], [Message(role="user", content="what helps with gout and sleep?")]]
    answers = ["<think>tea or salt</think>tea helps.", "water and rest helps."]
    ours = RewardModel.load(tmp_path).score(questions, answers)

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    theirs_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    texts = [
        theirs_tokenizer.apply_chat_template(
            [{"role": "user", "content": question[0].content}, {"role": "assistant", "content": final}], tokenize=False
        )
        for question, final in zip(questions, ("tea helps.", "water and rest helps."), strict=True)
    ]
    batch = theirs_tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        logits = plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    # reasoning is not judged; the score is (logit − mean) / scale
    torch.testing.assert_close(torch.tensor(ours), (logits - 0.25) / 2.0, rtol=0, atol=1e-5)


def test_scores_do_not_depend_on_the_company(tmp_path, tokenizer):
    model = RewardModel(reward_model(tokenizer), tokenizer)
    question = [Message(role="user", content="what helps?")]
    answers = ["tea helps.", "salt and beer helps.", "water."]
    together = model.score([question] * 3, answers)
    alone = [model.score([question], [answer])[0] for answer in answers]
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=0, atol=1e-5)


def test_head_starts_small(tokenizer):
    # std 1/√(hidden + 1) = 1/√33 = .174; 32 weights: within a factor of 1.6 at any reasonable draw
    weights = reward_model(tokenizer).score.weight.detach()
    assert 0.11 < float(weights.std()) < 0.28
