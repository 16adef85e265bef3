"""Losses and gradients against plain torch on padded batches through transformers' own forward, in float32."""

import copy
from functools import partial

import pytest
import torch

from components.conversations import Message, PreferencePair
from components.rewards.reward_model import create_reward_model, encode_answers
from components.training.engines.creation import create_engine
from components.training.engines.sharing import Pass
from components.training.preference import tuning
from components.training.preference.answer_logprobs import answer_logprobs, encode_whole_answers, reference_logprobs
from components.training.preference.bradley_terry import bradley_terry_loss
from components.training.preference.direct_update import ReferencedPairs, accumulate_gradients
from components.training.preference.prompt_pairs import group_pairs


@pytest.fixture
def pairs():
    """Three prompts of unequal length; two answers of the first stand in two pairs each; one answer reasons."""
    first, second = (Message(role="user", content="what helps?"),), (Message(role="user", content="what helps with gout and sleep and stress?"),)
    third = (Message(role="system", content="be kind"), Message(role="user", content="salt?"))
    texts = [
        (first, "tea.", "salt and beer helps."), (first, "tea.", "smoke"), (first, "rest and water helps a lot.", "smoke"),
        (second, "<think>tea or salt</think>tea helps.", "beer."), (third, "water and rest helps.", "salt helps and stress helps."),
    ]  # fmt: skip
    return [
        PreferencePair(id=str(number), dimension="honesty", messages=messages, chosen=chosen, rejected=rejected, margin=0.1 * number)
        for number, (messages, chosen, rejected) in enumerate(texts)
    ]


@pytest.fixture
def policy(tiny_model):
    return tiny_model


@pytest.fixture
def reference(tiny_model):
    model = copy.deepcopy(tiny_model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.03)
    return model


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def dense_logprobs(model, encoded):
    """Sum of log-probabilities over each answer's tokens: one row an answer, padded on the right."""
    ids, mask = padded([[*prompt, *answer] for prompt, answer in encoded])
    logprobs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(dim=-1)
    return torch.stack([
        logprobs[row, torch.arange(len(prompt) - 1, len(prompt) + len(answer) - 1), torch.tensor(answer)].sum()
        for row, (prompt, answer) in enumerate(encoded)
    ])  # fmt: skip


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same_gradients(actual, expected):
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        # to 1e-5 of the largest element (of 1, where all are smaller)
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=1e-5 * scale, msg=lambda text, name=name: f"{name}: {text}")


def dense_loss(name, h, beta, epsilon):
    """The papers' formulas, written out."""
    if name == "ipo":
        return (h - 1 / (2 * beta)) ** 2
    right, wrong = torch.log(torch.sigmoid(beta * h)), torch.log(torch.sigmoid(-beta * h))
    return -right if name == "dpo" else -(1 - epsilon) * right - epsilon * wrong


def referenced(tokenizer, pairs, reference):
    groups = group_pairs(pairs, partial(encode_whole_answers, tokenizer))
    logprobs = reference_logprobs(reference, groups, [range(len(groups))], passes=lambda batch: [Pass(list(batch))], precision="float32")
    return ReferencedPairs(groups, logprobs)


@pytest.mark.parametrize("supervised_weight", [0.0, 0.7])
@pytest.mark.parametrize(("loss", "epsilon"), [("dpo", 0.0), ("ipo", 0.0), ("cdpo", 0.15)])
def test_direct_losses_and_gradients_equal_the_dense_formulas(
    policy, reference, tiny_tokenizer, pairs, direct_settings, loss, epsilon, supervised_weight
):
    settings = direct_settings(loss=loss, label_smoothing=epsilon, beta=0.2, supervised_weight=supervised_weight)
    scored = referenced(tiny_tokenizer, pairs, reference)
    statistics = accumulate_gradients(create_engine(policy, settings.optimiser), scored, range(3), settings=settings)
    actual = gradients(policy)
    policy.zero_grad()

    messages = [pair.messages for pair in pairs]
    chosen = encode_whole_answers(tiny_tokenizer, messages, [pair.chosen for pair in pairs])
    rejected = encode_whole_answers(tiny_tokenizer, messages, [pair.rejected for pair in pairs])
    with torch.no_grad():
        chosen_reference, rejected_reference = dense_logprobs(reference, chosen), dense_logprobs(reference, rejected)
    chosen_policy, rejected_policy = dense_logprobs(policy, chosen), dense_logprobs(policy, rejected)
    h = (chosen_policy - chosen_reference) - (rejected_policy - rejected_reference)
    lengths = torch.tensor([len(answer) for _, answer in chosen])
    expected = (dense_loss(loss, h, 0.2, epsilon) - supervised_weight * chosen_policy / lengths).mean()
    expected.backward()

    metrics = statistics.metrics(beta=0.2)
    assert h.detach().abs().min() > 1e-3  # the two models differ, or nothing is shown
    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert metrics["margin"] == pytest.approx(0.2 * float(h.detach().mean()), abs=1e-5)
    assert metrics["reward_chosen"] == pytest.approx(0.2 * float((chosen_policy - chosen_reference).detach().mean()), abs=1e-5)
    assert metrics["log_ratio_rejected"] == pytest.approx(
        float((rejected_policy - rejected_reference).detach().sum()) / sum(len(answer) for _, answer in rejected), abs=1e-5
    )
    assert_same_gradients(actual, gradients(policy))


def test_log_probabilities_of_whole_answers_equal_transformers(policy, tiny_tokenizer, pairs):
    groups = group_pairs(pairs, partial(encode_whole_answers, tiny_tokenizer))
    with torch.no_grad():
        actual = answer_logprobs(policy, groups, precision="float32")
        expected = dense_logprobs(policy, [answer for group in groups for answer in group.answers])
    lengths = torch.tensor([len(answer) for group in groups for _, answer in group.answers])
    torch.testing.assert_close(actual / lengths, expected / lengths, rtol=0, atol=1e-5)


def test_micro_batches_change_neither_loss_nor_gradient(policy, reference, tiny_tokenizer, pairs, direct_settings):
    results = []
    for micro_tokens in (64, 100_000):  # every prompt a pass of its own; one pass for all
        policy.zero_grad()
        scored = referenced(tiny_tokenizer, pairs, reference)
        settings = direct_settings(micro_tokens=micro_tokens, supervised_weight=0.5)
        statistics = accumulate_gradients(create_engine(policy, settings.optimiser), scored, range(3), settings=settings)
        results.append((statistics.metrics(beta=0.1), gradients(policy)))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-5)
    assert_same_gradients(results[0][1], results[1][1])


def test_bradley_terry_loss_and_gradients_equal_the_dense_formula(policy, tiny_tokenizer, pairs, score_settings):
    model = create_reward_model(policy, seed=1)
    groups = group_pairs(pairs, partial(encode_answers, tiny_tokenizer))
    value, accuracy = tuning.accumulate_gradients(
        create_engine(model, score_settings().optimiser), groups, settings=score_settings(), margin_scale=2.0,
        loss=lambda chosen, rejected, margins: bradley_terry_loss(chosen, rejected, margins_P=margins, centring=0.05),
    )  # fmt: skip
    actual = gradients(model)
    model.zero_grad()

    messages = [pair.messages for pair in pairs]
    rewards = []
    for texts in ([pair.chosen for pair in pairs], [pair.rejected for pair in pairs]):
        ids, mask = padded([[*prompt, *answer] for prompt, answer in encode_answers(tiny_tokenizer, messages, texts)])
        ids[mask == 0] = model.config.pad_token_id  # where transformers looks for the last token
        rewards.append(model(input_ids=ids, attention_mask=mask).logits[:, 0])
    chosen, rejected = rewards
    margins = torch.tensor([2.0 * pair.margin for pair in pairs])
    expected = (-torch.log(torch.sigmoid(chosen - rejected - margins)) + 0.05 * (chosen + rejected) ** 2).mean()
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-5)
    assert accuracy == pytest.approx(float((chosen > rejected).float().mean()))
    assert_same_gradients(actual, gradients(model))
