"""The update on a real (tiny) model: scoring equals transformers' own, micro-batches do not matter, masks agree."""

import pytest
import torch

from components.errors import Diverged
from components.training.engines.torch_engine import TorchEngine
from components.training.policy.groups import Answer, LiveGroup, micro_batches
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


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
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


def test_numerator_and_denominator_use_one_mask(tiny_model, toy_settings, groups):
    # An answer left out must leave both sums: the loss equals that of a step that never held it.
    settings = toy_settings(kl_weight=0.0)
    first = groups[0]
    kept = LiveGroup(first.prompt_ids, first.answers[:2], first.advantages[:2])
    statistics = accumulate_gradients(TorchEngine(tiny_model(), settings.optimiser), None, [kept, groups[1]], settings=settings)
    # dapo, ratio 1, tokens of both groups: −(3 · .5 + 1 · −.5 + 2 · .5 + 2 · −.5) / 8 = −.125
    assert statistics.loss == pytest.approx(-0.125, abs=1e-6)
    assert statistics.tokens == 8


@pytest.mark.parametrize(("field", "value"), [("loss", float("nan")), ("gradient_norm", float("inf")), ("kl_sum", 60.0)])
def test_numbers_that_mean_nothing_stop_the_run(field, value):
    statistics = UpdateStatistics(tokens=10, **{field: value})
    with pytest.raises(Diverged, match="learning_rate"):
        refuse_divergence(statistics, kl_limit=5.0)
