"""Truncated importance sampling: weights by hand, what is left out, and that the loss is weighted by them."""

import math

import pytest
import torch

from components.training.policy.importance import sampler_correction
from components.training.policy.losses.loss import AnswerTokens, ClipRange, StepTotals, policy_loss
from components.training.policy.losses.registry import LOSSES

LENGTHS = torch.tensor([2, 1, 3])
# π_old / s: 3 and 1/2; 1; e^.3 throughout
GAP = torch.tensor([math.log(3.0), math.log(0.5), 0.0, 0.3, 0.3, 0.3])


def test_off_gives_no_weights():
    correction = sampler_correction(GAP, LENGTHS, cap=0.0, gap_limit=0.0)
    assert correction.weights_T is None
    assert (correction.capped, correction.masked) == (0, 0)


def test_weights_are_the_capped_ratios():
    correction = sampler_correction(GAP, LENGTHS, cap=2.0, gap_limit=0.0)
    expected = torch.tensor([2.0, 0.5, 1.0, *[math.exp(0.3)] * 3])
    torch.testing.assert_close(correction.weights_T, expected)
    assert (correction.capped, correction.masked) == (1, 0)


def test_an_answer_whose_mean_gap_is_too_large_is_left_out_whole():
    # means: (1.0986 − .6931)/2 = .2027; 0; .3. A limit of .25 leaves the third out, though no token of it is extreme.
    correction = sampler_correction(GAP, LENGTHS, cap=2.0, gap_limit=0.25)
    torch.testing.assert_close(correction.weights_T, torch.tensor([2.0, 0.5, 1.0, 0.0, 0.0, 0.0]))
    assert (correction.capped, correction.masked) == (1, 3)
    both_ways = sampler_correction(-GAP, LENGTHS, cap=0.0, gap_limit=0.25)
    torch.testing.assert_close(both_ways.weights_T, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))


def test_the_cap_is_not_counted_in_answers_left_out():
    correction = sampler_correction(torch.tensor([2.0, 2.0]), torch.tensor([2]), cap=2.0, gap_limit=0.5)
    assert (correction.capped, correction.masked) == (0, 2)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_weight_multiplies_its_tokens_gradient_and_nothing_else(name):
    weights = torch.tensor([2.0, 0.5, 1.0, 0.0, 0.0, 0.0])
    gradients = []
    for importance in (None, weights):
        tokens = AnswerTokens(
            logprobs_T=torch.full((6,), -1.0, requires_grad=True), old_T=torch.full((6,), -1.0),
            reference_T=torch.tensor([-1.2, -0.8, -1.0, -1.5, -1.1, -0.9]),
            advantages_T=torch.tensor([1.0, 1.0, -0.5, 0.3, 0.3, 0.3]), lengths_A=LENGTHS, importance_T=importance,
        )  # fmt: skip
        loss = policy_loss(
            LOSSES[name], tokens, totals=StepTotals(3, 6, 4), clip=ClipRange(0.2, 0.2), kl="ratio_k3", kl_weight=0.1
        ).loss
        loss.backward()
        gradients.append(tokens.logprobs_T.grad)
    weighted = gradients[0] * weights
    if name == "gspo":  # an answer's one ratio hands its tokens' weights on to all of them: equal in sum
        sums = [torch.stack([part.sum() for part in values.split(LENGTHS.tolist())]) for values in (gradients[1], weighted)]
        torch.testing.assert_close(*sums)
    else:
        torch.testing.assert_close(gradients[1], weighted)
