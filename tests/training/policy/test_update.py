"""The update on a real (tiny) model: scoring equals transformers' own, micro-batches do not matter, masks agree."""

from dataclasses import replace

import pytest
import torch

from components.errors import Diverged
from components.training.engines.torch_engine import TorchEngine
from components.training.policy.groups import Answer, LiveGroup, micro_batches
from components.training.policy.losses.registry import LOSSES
from components.training.policy.scoring import answer_logprobs, pack_groups
from components.training.policy.update import UpdateStatistics, accumulate_gradients, refuse_divergence


def answer(ids: tuple[int, ...]) -> Answer:
    return Answer(ids, tuple(-1.0 for _ in ids), "stop", "", {"correct": 1.0})


@pytest.fixture
def groups() -> list[LiveGroup]:
    generator = torch.Generator().manual_seed(2)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, 300, (count,), generator=generator).tolist())

    shapes = [(20, [3, 1, 6]), (25, [2, 2]), (22, [4, 5, 1, 2]), (18, [6])]
    return [
        LiveGroup(ids(prompt), tuple(answer(ids(n)) for n in answers), tuple(0.5 - i for i in range(len(answers))))
        for prompt, answers in shapes
    ]


def gradients(model) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_scores_equal_a_plain_forward_of_each_answer(tiny_model, groups):
    model = tiny_model()
    actual, entropy = answer_logprobs(model, pack_groups(groups), temperature=0.7, precision="float32")
    expected, entropies = [], []
    for group in groups:
        for item in group.answers:
            logits = model(torch.tensor([[*group.prompt_ids, *item.ids]])).logits[0, len(group.prompt_ids) - 1 : -1]
            table = (logits / 0.7).log_softmax(dim=-1)
            expected += [table[i, token] for i, token in enumerate(item.ids)]
            entropies += [-(row.exp() * row).sum() for row in table]
    torch.testing.assert_close(actual, torch.stack(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(entropy, torch.stack(entropies), rtol=0, atol=1e-4)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_micro_batches_change_neither_loss_nor_gradient(loss, tiny_model, toy_settings, groups):
    results = []
    for micro_tokens in (64, 10_000):
        model, reference = tiny_model(seed=3), tiny_model(seed=4)
        settings = toy_settings(loss=loss, micro_tokens=micro_tokens, kl_weight=0.05)
        statistics = accumulate_gradients(TorchEngine(model, settings.optimiser), reference, groups, settings=settings)
        results.append((statistics.loss, statistics.kl_sum, gradients(model)))
    assert len(micro_batches(groups, 64)) == 2
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_one_batch_of_eight_groups_equals_eight_of_one(loss, tiny_model, toy_settings):
    generator = torch.Generator().manual_seed(6)

    def sampled(length: int) -> Answer:
        # a random policy over 310 tokens gives each about −5.74; the sampler as much, give or take .3
        logprobs = (-5.74 + torch.randn(length, generator=generator) * 0.3).tolist()
        return replace(answer(tuple(torch.randint(4, 300, (length,), generator=generator).tolist())), sampler_logprobs=tuple(logprobs))

    eight = [
        LiveGroup(
            tuple(torch.randint(4, 300, (60,), generator=generator).tolist()), (sampled(first), sampled(second)), (0.9, -0.4)
        )
        for first, second in [(3, 7), (1, 5), (8, 2), (4, 4), (6, 1), (2, 9), (5, 5), (7, 3)]
    ]
    # One group has at least 66 tokens, so that 64 tokens a pass cut the step into eight. Everything that weighs tokens is on.
    options = {"loss": loss, "kl_weight": 0.05, "entropy_weight": 0.02, "importance_cap": 1.1, "sequence_gap_limit": 0.15}
    results = []
    for micro_tokens, passes in ((64, 8), (10_000, 1)):
        model = tiny_model(seed=3)
        assert len(micro_batches(eight, micro_tokens)) == passes
        settings = toy_settings(micro_tokens=micro_tokens, **options)
        statistics = accumulate_gradients(TorchEngine(model, toy_settings().optimiser), tiny_model(seed=4), eight, settings=settings)
        results.append((statistics.loss, statistics.capped_sum, statistics.masked_sum, gradients(model)))
    assert 0 < results[0][1] < statistics.tokens and 0 < results[0][2] < statistics.tokens
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5, abs=1e-6)
    assert results[0][1:3] == results[1][1:3]
    torch.testing.assert_close(results[0][3], results[1][3], rtol=0, atol=1e-6)


def test_numerator_and_denominator_use_one_mask(tiny_model, toy_settings, groups):
    # An answer left out must leave both sums: the loss equals that of a step that never held it.
    settings = toy_settings(kl_weight=0.0)
    first = groups[0]
    kept = LiveGroup(first.prompt_ids, first.answers[:2], first.advantages[:2])
    statistics = accumulate_gradients(TorchEngine(tiny_model(), settings.optimiser), None, [kept, groups[1]], settings=settings)
    # dapo, ratio 1, tokens of both groups: −(3 · .5 + 1 · −.5 + 2 · .5 + 2 · −.5) / 8 = −.125
    assert statistics.loss == pytest.approx(-0.125, abs=1e-6)
    assert statistics.tokens == 8


def test_entropy_bonus_has_the_gradient_of_the_dense_entropy(tiny_model, toy_settings, groups):
    model, plain = tiny_model(), tiny_model()
    settings = toy_settings(kl_weight=0.0, entropy_weight=0.1)
    statistics = accumulate_gradients(TorchEngine(model, toy_settings().optimiser), None, groups, settings=settings)
    accumulate_gradients(TorchEngine(plain, toy_settings().optimiser), None, groups, settings=toy_settings(kl_weight=0.0))
    actual = gradients(model) - gradients(plain)
    dense = tiny_model()
    rows = []
    for group in groups:
        for item in group.answers:
            logits = dense(torch.tensor([[*group.prompt_ids, *item.ids]])).logits[0, len(group.prompt_ids) - 1 : -1]
            table = logits.log_softmax(dim=-1)
            rows.append(-(table.exp() * table).sum(dim=-1))
    assert statistics.metrics()["entropy"] == pytest.approx(float(torch.cat(rows).detach().mean()), abs=1e-5)
    (-0.1 * torch.cat(rows).mean()).backward()  # dapo: every token of the step weighs alike
    torch.testing.assert_close(actual, gradients(dense), rtol=0, atol=1e-6)


def test_the_sampler_correction_reaches_the_update_and_is_counted(tiny_model, toy_settings, groups):
    # The fixture's sampler gave every token −1; a random policy over 310 gives about −5.7: π_old / s is far below any cap.
    settings = toy_settings(kl_weight=0.0, importance_cap=2.0)
    corrected, plain, masked = tiny_model(), tiny_model(), tiny_model()
    statistics = accumulate_gradients(TorchEngine(corrected, toy_settings().optimiser), None, groups, settings=settings)
    accumulate_gradients(TorchEngine(plain, toy_settings().optimiser), None, groups, settings=toy_settings(kl_weight=0.0))
    assert statistics.capped_sum == 0 and statistics.sampler_gap_sum / statistics.tokens > 4
    assert gradients(corrected).norm() < 0.05 * gradients(plain).norm()
    statistics = accumulate_gradients(TorchEngine(masked, toy_settings().optimiser), None, groups, settings=toy_settings(kl_weight=0.0, sequence_gap_limit=1.0))
    assert statistics.metrics()["importance_masked_share"] == 1.0
    assert gradients(masked).eq(0).all()
    likely = [LiveGroup(g.prompt_ids, tuple(replace(a, sampler_logprobs=(-9.0,) * len(a.ids)) for a in g.answers), g.advantages) for g in groups]
    statistics = accumulate_gradients(TorchEngine(tiny_model(), toy_settings().optimiser), None, likely, settings=settings)
    assert statistics.metrics()["importance_capped_share"] == 1.0


def test_the_stop_token_is_learnt_like_any_other(tiny_model, toy_settings, tiny_tokenizer):
    # One answer that stops, with a good advantage, and one without: after a step along the gradient the stop is likelier.
    stop = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert stop != tiny_tokenizer.pad_token_id
    prompt, model = tuple(range(20, 32)), tiny_model()
    batch = [LiveGroup(prompt, (answer((50, stop)), answer((50, 51))), (1.0, -1.0))]
    _, targets_T = pack_groups(batch)
    assert targets_T.tolist() == [50, stop, 50, 51]
    statistics = accumulate_gradients(TorchEngine(model, toy_settings().optimiser), None, batch, settings=toy_settings(kl_weight=0.0))
    assert statistics.tokens == 4
    before = _probability(model, [*prompt, 50], stop)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    assert _probability(model, [*prompt, 50], stop) > before


def _probability(model, ids: list[int], token: int) -> float:
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, -1].softmax(dim=-1)[token])


def test_an_empty_answer_beside_others_changes_only_the_number_of_answers(tiny_model, toy_settings, groups):
    first = groups[0]
    with_empty = LiveGroup(first.prompt_ids, (*first.answers, answer(())), (*first.advantages, 0.3))
    for loss, share in (("dapo", 1.0), ("grpo", 3 / 4), ("dr_grpo", 3 / 4), ("gspo", 3 / 4)):
        results = []
        for group in (first, with_empty):
            model = tiny_model()
            accumulate_gradients(TorchEngine(model, toy_settings().optimiser), None, [group], settings=toy_settings(loss=loss, kl_weight=0.0))
            results.append(gradients(model))
        torch.testing.assert_close(results[1], results[0] * share, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("loss", float("nan")), ("gradient_norm", float("inf")), ("kl_sum", 60.0)])
def test_numbers_that_mean_nothing_stop_the_run(field, value):
    statistics = UpdateStatistics(tokens=10, **{field: value})
    with pytest.raises(Diverged, match="learning_rate"):
        refuse_divergence(statistics, kl_limit=5.0)
