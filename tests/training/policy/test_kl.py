"""KL estimators: values by hand, and gradients against the exact reverse KL of a categorical."""

import math

import pytest
import torch

from components.training.policy.kl import KL_ESTIMATORS

LOGITS = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64)
REFERENCE = torch.tensor([1.0, 0.2, -0.5, 0.0], dtype=torch.float64).log_softmax(dim=0)


def exact_gradient() -> torch.Tensor:
    """Gradient of Σ π (log π − log π_ref) with respect to the logits."""
    logits = LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(dim=0)
    (logprobs.exp() * (logprobs - REFERENCE)).sum().backward()
    assert logits.grad is not None
    return logits.grad


def estimator_gradient(name: str) -> torch.Tensor:
    """Expectation, over tokens drawn from π, of the estimator's gradient: an exact sum over the four tokens."""
    logits = LOGITS.clone().requires_grad_()
    logprobs = logits.log_softmax(dim=0)
    old = logprobs.detach()
    terms = KL_ESTIMATORS[name](logprobs, REFERENCE, (logprobs - old).exp())
    (old.exp() * terms).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("name", ["k2", "ratio_k3"])
def test_gradient_is_that_of_the_reverse_kl(name):
    torch.testing.assert_close(estimator_gradient(name), exact_gradient(), rtol=0, atol=1e-12)


def test_gradient_of_k3_as_a_loss_is_biased():
    error = (estimator_gradient("k3") - exact_gradient()).norm() / exact_gradient().norm()
    assert error > 0.2


@pytest.mark.parametrize("name", ["k3", "ratio_k3"])
def test_value_is_unbiased_on_policy(name):
    logprobs = LOGITS.log_softmax(dim=0)
    exact = (logprobs.exp() * (logprobs - REFERENCE)).sum()
    estimate = (logprobs.exp() * KL_ESTIMATORS[name](logprobs, REFERENCE, torch.ones(4, dtype=torch.float64))).sum()
    torch.testing.assert_close(estimate, exact)


def test_values_of_one_token():
    # π .5, π_ref .25: l = −ln 2 = −.6931; k2 = .2402; k3 = .5 + .6931 − 1 = .1931; twice that at ratio 2
    logprobs, reference = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    for name, expected in {"k2": 0.2402, "k3": 0.1931, "ratio_k3": 0.3863}.items():
        value = KL_ESTIMATORS[name](logprobs, reference, torch.tensor([2.0]))
        torch.testing.assert_close(value, torch.tensor([expected]), rtol=0, atol=1e-4)
