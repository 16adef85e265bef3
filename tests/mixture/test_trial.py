"""A real trial on a tiny model: the same start, ratios and seed give the same scores, and ratios matter."""

import dataclasses

import pytest
import torch

from components.cases.case import Case
from components.conversations import Message, Sample
from components.errors import DataError
from components.mixture.measures import answer_likelihood
from components.mixture.trial import load_setting, run_trial, validation_cases
from components.modeling.models import create_model, save_model
from components.modeling.tokenizers import train_tokenizer
from components.settings.training import ModelSettings, OptimiserSettings, SupervisedSettings

TINY = ModelSettings(vocabulary=512, hidden=32, layers=1, heads=2, key_value_heads=1, head_dimension=16, intermediate=64, context=128)
TUNING = SupervisedSettings(optimiser=OptimiserSettings(learning_rate=1.0e-2, warmup_steps=1), steps=12, batch_samples=8, precision="float32")
QUESTIONS = {"left": ("which side", "left"), "right": ("other hand", "right")}


def make_case(group: str, number: int, *, suite: str = "ability") -> Case:
    question, answer = QUESTIONS[group]
    return Case(
        id=f"{group}{number}", split="validation", suite=suite, task=group, group=group, cluster="d", entities=(), combination=f"{number}",
        template="t", messages=(Message(role="user", content=question),), answer=answer, verifier="exact_text", reference={"accept": [answer]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = train_tokenizer(["which side left other hand right"] * 20, vocabulary=300)
    save_model(create_model(TINY, tokenizer=tokenizer, seed=1), tokenizer, folder)
    samples = [
        Sample(id=f"{group}{n}", task=group, group=group, messages=(Message(role="user", content=q), Message(role="assistant", content=a)))
        for group, (q, a) in QUESTIONS.items() for n in range(100)
    ]  # fmt: skip
    cases = [make_case(group, number) for group in QUESTIONS for number in range(3)]
    return load_setting(folder, samples, cases, tuning=TUNING, count=4, measure="verifier")


def test_a_group_that_is_trained_on_scores_and_the_start_stays_untouched(setting):
    before = {name: value.clone() for name, value in setting.model.state_dict().items()}
    left = run_trial(setting, {"left": 0.999, "right": 0.001}, seed=1)
    assert left == {"left": 1.0, "right": 0.0}
    assert run_trial(setting, {"left": 0.999, "right": 0.001}, seed=1) == left
    assert run_trial(setting, {"left": 0.001, "right": 0.999}, seed=1) == {"left": 0.0, "right": 1.0}
    for name, value in setting.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_likelihood_is_the_geometric_mean_of_token_probabilities(setting):
    # reference: transformers' own forward over the rendered conversation, one case at a time
    case = setting.cases[0]
    text = setting.tokenizer.apply_chat_template(
        [{"role": "user", "content": case.prompt}, {"role": "assistant", "content": case.answer}],
        return_dict=True, return_assistant_tokens_mask=True, return_tensors=None,
    )  # fmt: skip
    ids = torch.tensor([text["input_ids"]])
    logprobs = setting.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    expected = logprobs[torch.tensor(text["assistant_masks"][1:], dtype=torch.bool)].mean().exp().item()
    found = answer_likelihood(setting.model, setting.tokenizer, [case], TUNING)
    assert found == {case.group: pytest.approx(expected, rel=1e-4)}


def test_likelihood_prefers_the_group_trained_on_before_any_answer_is_right(setting):
    few = dataclasses.replace(setting, measure="likelihood", tuning=TUNING.model_copy(update={"steps": 2}))
    left, right = (run_trial(few, {"left": share, "right": 1 - share}, seed=1) for share in (0.999, 0.001))
    assert left["left"] > right["left"] and right["right"] > left["right"]


def test_cases_are_shared_out_over_the_groups_and_only_ability_counts():
    cases = [make_case("left", n) for n in range(9)] + [make_case("right", n) for n in range(2)] + [make_case("right", 20, suite="grounded")]
    chosen = validation_cases(cases, ["left", "right"], count=8)
    assert [case.group for case in chosen] == ["left"] * 4 + ["right"] * 2
    assert {case.suite for case in chosen} == {"ability"}


def test_group_without_cases_is_refused():
    with pytest.raises(DataError, match=r"holdout\.validation_cases_per_suite"):
        validation_cases([make_case("left", 0)], ["left", "right"], count=4)
