"""Several updates a rollout: how groups are cut, whose log-probabilities are the old ones, and that clipping then acts."""

import pytest
import torch

from components.training.engines.torch_engine import TorchEngine
from components.training.policy.groups import Answer, LiveGroup
from components.training.policy.rollout_updates import cut_evenly, update_on_rollout, whole_rollout
from components.training.policy.scoring import answer_logprobs, pack_groups
from components.training.policy.update import UpdateStatistics, accumulate_gradients, update_policy

RATE = 4e-3  # one such AdamW step moves some tokens' ratios beyond the clip range, and others not


def group(seed: int, answers: int = 4) -> LiveGroup:
    generator = torch.Generator().manual_seed(seed)
    ids = [tuple(torch.randint(4, 300, (6,), generator=generator).tolist()) for _ in range(answers + 1)]
    sampled = tuple(Answer(row, (-1.0,) * len(row), "stop", "", {"correct": 1.0}) for row in ids[1:])
    return LiveGroup(ids[0], sampled, tuple(1.0 - 2.0 * (index % 2) for index in range(answers)))


@pytest.mark.parametrize(
    ("groups", "parts", "sizes"), [(8, 4, [2, 2, 2, 2]), (7, 3, [2, 2, 3]), (2, 5, [1, 1]), (3, 1, [3]), (0, 4, [])]
)
def test_groups_are_cut_in_order_into_even_parts(groups, parts, sizes):
    rows = [group(seed, answers=1) for seed in range(groups)]
    cut = cut_evenly(rows, parts)
    assert [len(part) for part in cut] == sizes
    assert [item for part in cut for item in part] == rows


def test_in_the_second_update_the_ratio_leaves_one_and_tokens_are_clipped(tiny_model, toy_settings):
    # The same answers again: the first update has moved their probabilities away from those they were drawn with.
    model, settings = tiny_model(), toy_settings(updates_per_rollout=2, kl_weight=0.0)
    first, second = update_on_rollout(
        TorchEngine(model, settings.optimiser, norm_order="model"), None, [group(1), group(1)], settings=settings, learning_rate=RATE
    )
    assert (first.ratio_error, first.clipped_sum) == (0.0, 0.0)
    assert second.ratio_error > 0.28
    assert 0 < second.clipped_sum < second.tokens


def test_the_second_update_is_that_of_the_clipped_surrogate_with_the_old_policy_of_before_the_first(tiny_model, toy_settings):
    settings = toy_settings(updates_per_rollout=2, kl_weight=0.0)
    whole, model = tiny_model(), tiny_model()
    _, second = update_on_rollout(
        TorchEngine(whole, settings.optimiser, norm_order="model"), None, [group(1), group(1)], settings=settings, learning_rate=RATE
    )

    # The same by hand: the old policy scored, one step taken, then min(r A, clip(r) A) over the tokens.
    with torch.no_grad():
        old_T, _ = answer_logprobs(model, pack_groups([group(1)]), temperature=1.0, precision="float32")
    update_policy(TorchEngine(model, settings.optimiser, norm_order="model"), None, [group(1)], settings=settings, learning_rate=RATE)
    model.zero_grad()
    new_T, _ = answer_logprobs(model, pack_groups([group(1)]), temperature=1.0, precision="float32")
    advantages_T = torch.tensor(group(1).advantages).repeat_interleave(6)
    ratio_T = (new_T - old_T).exp()
    loss = -torch.minimum(ratio_T * advantages_T, ratio_T.clamp(0.8, 1.28) * advantages_T).mean()
    loss.backward()
    assert second.loss == pytest.approx(float(loss.detach()), abs=1e-6)
    assert second.ratio_error == pytest.approx(float((ratio_T.detach() - 1).abs().max()), rel=1e-6)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert second.gradient_norm == pytest.approx(float(norm), rel=1e-5)


def test_one_update_needs_no_old_pass_and_equals_a_step_on_all_groups(tiny_model, toy_settings):
    settings = toy_settings(kl_weight=0.0)
    groups, model, other = [group(1), group(2)], tiny_model(), tiny_model()
    (only,) = update_on_rollout(
        TorchEngine(model, settings.optimiser, norm_order="model"), None, groups, settings=settings, learning_rate=RATE
    )
    assert (only.ratio_error, only.tokens) == (0.0, 48)
    statistics = accumulate_gradients(TorchEngine(other, settings.optimiser), None, groups, settings=settings)
    assert only.loss == statistics.loss


def test_statistics_of_a_rollout_are_sums_means_and_maxima():
    updates = [
        UpdateStatistics(tokens=2, loss=1.0, kl_sum=0.5, gradient_norm=3.0, ratio_error=0.0),
        UpdateStatistics(tokens=4, loss=2.0, kl_sum=0.1, gradient_norm=1.0, ratio_error=0.2),
    ]
    whole = whole_rollout(updates)
    assert (whole.tokens, whole.loss, whole.gradient_norm, whole.ratio_error) == (6, 1.5, 3.0, 0.2)
    assert whole.kl_sum == pytest.approx(0.6)
    assert whole_rollout(updates[:1]) is updates[0]
    assert whole_rollout([]) == UpdateStatistics()
