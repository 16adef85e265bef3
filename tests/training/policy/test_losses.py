"""Policy losses: numbers by hand, and independence of micro-batches."""

import math

import pytest
import torch

from components.training.policy.losses.loss import (
    AnswerTokens,
    ClipRange,
    StepTotals,
    answer_means,
    clip_range,
    clipped_objective,
    policy_loss,
)
from components.training.policy.losses.registry import LOSSES

CLIP = ClipRange(low=0.2, high=0.28)


def tokens_of(advantages: list[float], lengths: list[int], *, logprobs=None, old=None, reference=None) -> AnswerTokens:
    """Lay answers end to end; log-probabilities default to 0 for both policies (ratio 1)."""
    count = torch.tensor(lengths)
    total = sum(lengths)
    new = torch.zeros(total) if logprobs is None else torch.tensor(logprobs)
    return AnswerTokens(
        logprobs_T=new.clone().requires_grad_(),
        old_T=torch.zeros(total) if old is None else torch.tensor(old),
        reference_T=None if reference is None else torch.tensor(reference),
        advantages_T=torch.tensor(advantages).repeat_interleave(count),
        lengths_A=count,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grpo", -1.0),  # answer means 3 and −1, their mean 1
        ("dapo", 0.0),  # (1 · 3 − 3 · 1) / 4 tokens
        ("dr_grpo", 0.0),  # (1 · 3 − 3 · 1) / (2 answers · 5)
    ],
)
def test_variants_differ_in_how_tokens_are_averaged(name, expected):
    # One token with advantage 3; three tokens with advantage −1; ratio 1 throughout.
    batch = tokens_of([3.0, -1.0], [1, 3])
    parts = policy_loss(LOSSES[name], batch, totals=StepTotals(2, 4, 5), clip=CLIP, kl="k3", kl_weight=0.0)
    torch.testing.assert_close(parts.loss.detach(), torch.tensor(expected))


def test_dr_grpo_divides_by_a_constant():
    # two tokens of advantage 1, one answer, limit 5: −2/5
    parts = policy_loss(LOSSES["dr_grpo"], tokens_of([1.0], [2]), totals=StepTotals(1, 2, 5), clip=CLIP, kl="k3", kl_weight=0.0)
    torch.testing.assert_close(parts.loss.detach(), torch.tensor(-0.4))


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, 1.28),  # gains are cut at 1 + high
        (1.5, -1.0, -1.5),  # losses are not
        (0.5, 1.0, 0.5),  # a fallen good token is not cut
        (0.5, -1.0, -0.8),  # a fallen bad token is cut at 1 − low
        (1.1, 2.0, 2.2),
    ],
)
def test_clipping(ratio, advantage, expected):
    batch = tokens_of([advantage], [1], logprobs=[math.log(ratio)])
    torch.testing.assert_close(clipped_objective(batch, CLIP).value_T, torch.tensor([expected]))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("grpo", 0.2, 0.2), ("dapo", 0.2, 0.28), ("dr_grpo", 0.2, 0.2), ("gspo", 3e-4, 4e-4), ("cispo", 1.0, 4.0)],
)
def test_each_variant_brings_the_clip_range_it_was_published_with(name, low, high):
    assert clip_range(LOSSES[name], low=None, high=None) == ClipRange(low, high)
    assert clip_range(LOSSES[name], low=0.1, high=None) == ClipRange(0.1, high)


def test_clip_share_counts_only_tokens_whose_gradient_is_cut():
    batch = tokens_of([1.0, -1.0, 1.0, -1.0], [1, 1, 1, 1], logprobs=[math.log(r) for r in (1.5, 1.5, 0.5, 0.5)])
    parts = policy_loss(LOSSES["dapo"], batch, totals=StepTotals(4, 4, 1), clip=CLIP, kl="k3", kl_weight=0.0)
    assert parts.clipped_sum == 2
    assert parts.ratio_error == pytest.approx(0.5)
    parts.loss.backward()
    assert batch.logprobs_T.grad[0] == 0 and batch.logprobs_T.grad[3] == 0
    assert batch.logprobs_T.grad[1] != 0 and batch.logprobs_T.grad[2] != 0


def test_gspo_takes_or_leaves_an_answer_as_one():
    # first answer: mean log ratio (.2 − .1)/2 = .05, above 4e-4 with a good advantage: left; second: unchanged, taken
    batch = tokens_of([1.0, 1.0], [2, 1], logprobs=[0.2, -0.1, 0.0])
    parts = policy_loss(LOSSES["gspo"], batch, totals=StepTotals(2, 3, 9), clip=LOSSES["gspo"].clip, kl="k3", kl_weight=0.0)
    parts.loss.backward()
    torch.testing.assert_close(batch.logprobs_T.grad, torch.tensor([0.0, 0.0, -0.5]))
    torch.testing.assert_close(parts.loss.detach(), torch.tensor(-(1 + 4e-4 + 1) / 2))
    assert parts.clipped_sum == 2


def test_gspo_gradient_is_the_answers_ratio_at_every_token():
    # s = exp((.3 − .1)/2) = e^.1; two tokens share s · A / |o| = e^.1 · 2 / 2, one answer
    batch = tokens_of([2.0], [2], logprobs=[0.3, -0.1])
    policy_loss(LOSSES["gspo"], batch, totals=StepTotals(1, 2, 9), clip=CLIP, kl="k3", kl_weight=0.0).loss.backward()
    torch.testing.assert_close(batch.logprobs_T.grad, torch.full((2,), -math.exp(0.1)))


def test_cispo_bounds_the_weight_and_keeps_every_gradient():
    # ratios 9, 1 and .1 with range [0, 5]: weights 5, 1, .1 on A = 1, 1, −1; three tokens
    batch = tokens_of([1.0, 1.0, -1.0], [1, 1, 1], logprobs=[math.log(r) for r in (9.0, 1.0, 0.1)])
    parts = policy_loss(LOSSES["cispo"], batch, totals=StepTotals(3, 3, 9), clip=LOSSES["cispo"].clip, kl="k3", kl_weight=0.0)
    parts.loss.backward()
    torch.testing.assert_close(batch.logprobs_T.grad, torch.tensor([-5.0, -1.0, 0.1]) / 3)
    assert parts.clipped_sum == 1


def test_an_empty_answer_has_mean_zero():
    actual = answer_means(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 1]))
    torch.testing.assert_close(actual, torch.tensor([1.5, 0.0, 4.0]))


def test_gradient_on_policy_is_minus_advantage_times_weight():
    batch = tokens_of([2.0, -1.0], [2, 2])
    policy_loss(LOSSES["dapo"], batch, totals=StepTotals(2, 4, 9), clip=CLIP, kl="k3", kl_weight=0.0).loss.backward()
    torch.testing.assert_close(batch.logprobs_T.grad, torch.tensor([-0.5, -0.5, 0.25, 0.25]))


def test_kl_is_added_with_the_same_weights():
    # π .5, π_ref .25 a token: k3 .1931; dapo over two tokens: .1 · .1931
    half, quarter = math.log(0.5), math.log(0.25)
    batch = tokens_of([0.0], [2], logprobs=[half, half], old=[half, half], reference=[quarter, quarter])
    parts = policy_loss(LOSSES["dapo"], batch, totals=StepTotals(1, 2, 9), clip=CLIP, kl="ratio_k3", kl_weight=0.1)
    torch.testing.assert_close(parts.loss.detach(), torch.tensor(0.01931), rtol=0, atol=1e-5)
    assert parts.kl_sum == pytest.approx(2 * 0.1931, abs=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_loss_of_a_step_is_the_sum_over_its_micro_batches(name):
    generator = torch.Generator().manual_seed(5)
    lengths, advantages = [3, 1, 4, 2], [1.0, -0.5, 0.3, -0.8]
    new, old, reference = (torch.randn(10, generator=generator) * 0.3 for _ in range(3))
    totals = StepTotals(answers=4, tokens=10, max_new_tokens=6)
    options = {"totals": totals, "clip": CLIP, "kl": "ratio_k3", "kl_weight": 0.05}

    def part(first: int, last: int) -> torch.Tensor:
        span = slice(sum(lengths[:first]), sum(lengths[:last]))
        batch = tokens_of(
            advantages[first:last], lengths[first:last],
            logprobs=new[span].tolist(), old=old[span].tolist(), reference=reference[span].tolist(),
        )  # fmt: skip
        return policy_loss(LOSSES[name], batch, **options).loss.detach()

    torch.testing.assert_close(part(0, 4), part(0, 1) + part(1, 3) + part(3, 4))
