"""The supervised loop: what its loss is, that micro-batches do not matter, and that a resumed run is the undisturbed one."""

import json
import math

import pytest
import torch

from components.conversations import Message, Sample
from components.errors import DataError, Diverged, StorageError
from components.recorder import Recorder, read_record, without_timings
from components.settings.training import OptimiserSettings, SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.schedule import learning_rate
from components.training.supervised.examples import Example, chat_examples, text_examples
from components.training.supervised.loop import SupervisedRun
from components.training.supervised.loss import summed_loss
from components.training.supervised.tuning import pretrain, tune


def _samples(count=12):
    words = ["wheeze", "fever", "chest pain", "cough"]
    return [
        Sample(
            id=str(number), task="t", group="ab"[number % 2], level=1 + number % 3,
            messages=(
                Message(role="user", content=f"What causes {words[number % 4]} {number}?"),
                Message(role="assistant", content="Asthma." if number % 2 else "Pneumonia causes a productive cough."),
            ),
        )
        for number in range(count)
    ]  # fmt: skip


def _settings(**changes):
    values = {
        "optimiser": OptimiserSettings(learning_rate=3e-3, warmup_steps=2), "steps": 8, "batch_samples": 4,
        "validate_every": 3, "checkpoint_every": 2, "precision": "float32",
    }  # fmt: skip
    return SupervisedSettings(**values | changes)


def _weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_loss_is_that_of_transformers(tiny_model, tiny_tokenizer):
    (example,) = chat_examples(tiny_tokenizer, _samples(1), context=128)
    labels = torch.tensor(
        [[token if flag else -100 for token, flag in zip(example.ids, example.is_target, strict=True)]]
    )
    expected = tiny_model(torch.tensor([example.ids]), labels=labels).loss
    actual = summed_loss(tiny_model, [example], precision="float32") / example.targets
    assert float(actual.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_one_batch_of_8_equals_8_micro_batches_of_1(tiny_model, tiny_tokenizer, tmp_path):
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    examples = [
        Example((5 + number, *range(40, 80)), (False,) * number + (True,) * (41 - number)) for number in range(8)
    ]
    records = []
    for micro_tokens in (8192, 64):  # examples of 41 tokens: one alone fills a micro-batch of 64
        tiny_model.load_state_dict(before)
        recorder = Recorder(tmp_path / str(micro_tokens))
        SupervisedRun(
            tiny_model,
            examples,
            [list(range(8))],
            settings=_settings(steps=1, micro_tokens=micro_tokens),
            recorder=recorder,
        ).run()
        records.append(without_timings(read_record(recorder.folder)[0]["values"]))
    assert records[0] == pytest.approx(records[1], abs=1e-5)  # loss, and the norm of the gradients
    assert records[0]["gradient_norm"] > 0.1


class _PowerCut(Exception):
    pass


class _FailingRecorder(Recorder):
    """Raises at a step's metrics, as a kill would."""

    fails_at = -1

    def metrics(self, values, *, step):
        if step == self.fails_at and "loss" in values:
            raise _PowerCut
        super().metrics(values, step=step)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cuts", [(1,), (3,), (4, 6), (8,)])
def test_interrupted_run_ends_bit_for_bit_as_an_undisturbed_one(tiny_model, tiny_tokenizer, tmp_path, cuts, precision):
    start = {name: value.clone() for name, value in tiny_model.state_dict().items()}

    def attempt(folder, fails_at):
        tiny_model.load_state_dict(start)
        recorder = _FailingRecorder(folder / "record")
        recorder.fails_at = fails_at
        return tune(
            tiny_model, tiny_tokenizer, _samples(), settings=_settings(patience=9, precision=precision), seed=3, recorder=recorder,
            checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), validation=_samples(4), level_overlap=1.5,
            ratios={"a": 0.7, "b": 0.3},
        )  # fmt: skip

    expected = attempt(tmp_path / "whole", -1)
    weights = _weights(tiny_model).clone()
    for cut in cuts:
        with pytest.raises(_PowerCut):
            attempt(tmp_path / "cut", cut)
    assert attempt(tmp_path / "cut", -1) == expected
    assert torch.equal(_weights(tiny_model), weights)
    whole, cut = (
        [(entry["step"], dict.fromkeys(entry["values"]) | without_timings(entry["values"])) for entry in read_record(tmp_path / name / "record") if entry["kind"] == "metrics"]
        for name in ("whole", "cut")
    )
    assert cut == whole


def test_checkpoint_of_other_samples_is_refused(tiny_model, tiny_tokenizer, tmp_path):
    checkpoints = CheckpointFolder(tmp_path, key="k")
    tune(tiny_model, tiny_tokenizer, _samples(), settings=_settings(), seed=3, checkpoints=checkpoints)
    with pytest.raises(StorageError, match="other samples"):
        tune(tiny_model, tiny_tokenizer, _samples(10), settings=_settings(), seed=3, checkpoints=checkpoints)


def test_patience_keeps_the_weights_of_the_best_look(tiny_model, tiny_tokenizer):
    settings = _settings(
        optimiser=OptimiserSettings(learning_rate=0.05, warmup_steps=0),
        steps=40,
        validate_every=2,
        patience=3,
        spike_limit=99.0,
    )
    validation = [  # what training contradicts: questions with each other's answers
        sample.model_copy(update={"messages": (sample.messages[0], other.messages[1])})
        for sample, other in zip(_samples(4), _samples(5)[1:], strict=True)
    ]
    result = tune(tiny_model, tiny_tokenizer, _samples(), settings=settings, seed=3, validation=validation)
    examples = chat_examples(tiny_tokenizer, validation, context=128)
    with torch.no_grad():
        loss = float(summed_loss(tiny_model, examples, precision="float32")) / sum(
            example.targets for example in examples
        )
    assert loss == pytest.approx(result.after.loss, abs=1e-5)
    assert result.after.loss < result.before.loss
    assert result.after.step < result.steps < 40


def test_a_measure_decides_which_weights_are_kept_whatever_the_loss_says(tiny_model, tiny_tokenizer):
    scores, seen = iter((0.3, 0.7, 0.6, 0.7, 0.1)), []

    def measure(model):
        seen.append(_weights(model).clone())
        return next(scores)

    settings = _settings(steps=40, validate_every=2, patience=3)
    result = tune(tiny_model, tiny_tokenizer, _samples(), settings=settings, seed=3, validation=_samples(4), measure=measure)
    # looks at steps 0, 2, 4, 6, 8: the first .7 stands, three looks without a better one end the run
    assert (result.before.score, result.after.score, result.after.step, result.steps) == (0.3, 0.7, 2, 8)
    assert torch.equal(_weights(tiny_model), seen[1])
    assert len(seen) == 5


def _evidence(folder):
    return json.loads((folder / "checkpoints" / "diverged.json").read_text())


@pytest.fixture
def tune_poisoned(acting_recorder):
    """Return a tuning whose model something happens to after one step, as a fault of the hardware would."""

    def attempt(model, tokenizer, folder, *, after, poison, **changes):
        return tune(
            model, tokenizer, _samples(), settings=_settings(**changes), seed=3, checkpoints=CheckpointFolder(folder / "checkpoints", key="k"),
            recorder=acting_recorder(folder / "record", after=after, act=poison),
        )  # fmt: skip

    return attempt


def test_a_poisoned_weight_stops_the_run_and_the_evidence_is_kept(tiny_model, tiny_tokenizer, tmp_path, tune_poisoned):
    def poison():
        with torch.no_grad():
            tiny_model.model.norm.weight[0] = math.nan

    with pytest.raises(Diverged, match=r"step 5: loss nan.*kept: the state after step 4; evidence: .*diverged\.json"):
        tune_poisoned(tiny_model, tiny_tokenizer, tmp_path, after=5, poison=poison)
    evidence = _evidence(tmp_path)
    recorded = [entry["values"]["loss"] for entry in read_record(tmp_path / "record") if entry["kind"] == "metrics"]
    assert (evidence["step"], evidence["last_good_step"], evidence["values"]["loss"], evidence["values"]["gradient_norm"]) == (5, 4, "nan", "nan")
    assert evidence["losses_before"] == recorded and len(recorded) == 5
    assert len(evidence["batch"]) == 4 and set(evidence["batch"]) <= {sample.id for sample in _samples()}  # ids, no text
    checkpoint, warnings = CheckpointFolder(tmp_path / "checkpoints", key="k").latest()
    assert (checkpoint.step, warnings) == (4, [])
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


def test_weights_that_are_no_numbers_are_never_saved(tiny_model, tiny_tokenizer, tmp_path, tune_poisoned):
    def poison():  # in mid-step: after the step's loss was found sound, before its checkpoint
        with torch.no_grad():
            tiny_model.model.norm.weight[0] = math.inf

    with pytest.raises(Diverged, match=r"step 3: model\.model\.norm\.weight and 0 more hold.*after step 2"):
        tune_poisoned(tiny_model, tiny_tokenizer, tmp_path, after=4, poison=poison)
    assert CheckpointFolder(tmp_path / "checkpoints", key="k").newest_step() == 2
    with pytest.raises(Diverged, match="hold values that are no numbers"):  # and not handed on at the end
        tune_poisoned(tiny_model, tiny_tokenizer, tmp_path / "end", after=8, poison=poison)


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_touched(tiny_model, tiny_tokenizer, tmp_path, tune_poisoned):
    # The loss is finite, its gradient is not: as when a derivative overflows.
    tiny_model.lm_head.weight.register_hook(lambda gradient: gradient * math.nan)
    before = _weights(tiny_model).clone()
    with pytest.raises(Diverged, match=r"step 0: loss \d.*gradient norm nan"):
        tune_poisoned(tiny_model, tiny_tokenizer, tmp_path, after=-1, poison=None)
    assert torch.equal(_weights(tiny_model), before)


def test_a_loss_spike_stops_the_run(tiny_model, tiny_tokenizer, tmp_path, tune_poisoned):
    def poison():
        with torch.no_grad():
            tiny_model.lm_head.weight.mul_(-30.0)

    with pytest.raises(Diverged, match=r"step 25: loss \d+.* \(mean loss of the 20 steps before"):
        tune_poisoned(tiny_model, tiny_tokenizer, tmp_path, after=25, poison=poison, steps=40)
    evidence = _evidence(tmp_path)
    assert evidence["values"]["loss"] > sum(evidence["losses_before"]) / 20 + evidence["values"]["spike_limit"]
    assert evidence["values"]["gradient_norm"] > 0.0


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(tiny_model, tiny_tokenizer):
    with torch.no_grad():
        tiny_model.model.norm.weight[0] = math.nan
    before = _weights(tiny_model).clone()
    with pytest.raises(Diverged, match="step 0"):
        tune(tiny_model, tiny_tokenizer, _samples(), settings=_settings(), seed=3)
    assert torch.equal(_weights(tiny_model).nan_to_num(9.0), before.nan_to_num(9.0))


def test_pre_training_lowers_the_loss_of_its_texts(tiny_model, tiny_tokenizer):
    texts = ["Asthma causes wheeze and night cough.", "Pneumonia causes fever."] * 4
    result = pretrain(
        tiny_model, tiny_tokenizer, texts, settings=_settings(steps=40, batch_tokens=60), seed=1, validation=texts[:2]
    )
    assert result.after.loss < 0.2 * result.before.loss


def test_long_texts_are_cut_so_that_every_token_is_predicted_once(tiny_tokenizer):
    text = "fever cough wheeze " * 30
    whole = [*text_examples(tiny_tokenizer, [text], context=10_000)[0].ids]
    pieces = text_examples(tiny_tokenizer, [text], context=16)
    assert all(len(piece.ids) <= 16 for piece in pieces)
    assert [token for piece in pieces for token in piece.ids[1:]] == whole[1:]


def test_samples_beyond_the_context_are_left_out_and_counted(tiny_model, tiny_tokenizer):
    long = Sample(
        id="long",
        task="t",
        group="a",
        messages=(Message(role="user", content="cough " * 200), Message(role="assistant", content="Asthma.")),
    )
    assert tune(tiny_model, tiny_tokenizer, [*_samples(), long], settings=_settings(steps=1), seed=1).skipped == 1
    with pytest.raises(DataError, match="context"):
        tune(tiny_model, tiny_tokenizer, [long], settings=_settings(steps=1), seed=1)


def test_learning_rate_by_hand():
    settings = OptimiserSettings(learning_rate=1.0, warmup_steps=4, schedule="cosine", final_share=0.2)
    rates = [learning_rate(step, steps=15, settings=settings) for step in (0, 3, 4, 9, 14, 20)]
    # warm-up 1/4 … 4/4; then .2 + .8 (1 + cos πp)/2 at p = 0, .5, 1 and beyond
    assert rates == pytest.approx([0.25, 1.0, 1.0, 0.6, 0.2, 0.2])
    linear = OptimiserSettings(learning_rate=1.0, warmup_steps=4, schedule="linear", final_share=0.2)
    assert learning_rate(9, steps=15, settings=linear) == pytest.approx(0.6)


def test_an_example_without_targets_adds_nothing(tiny_model, tiny_tokenizer):
    (example,) = chat_examples(tiny_tokenizer, _samples(1), context=128)
    silent = Example(example.ids, (False,) * len(example.ids))
    both = summed_loss(tiny_model, [example, silent], precision="float32")
    assert float(both.detach()) == pytest.approx(
        float(summed_loss(tiny_model, [example], precision="float32").detach()), abs=1e-4
    )
