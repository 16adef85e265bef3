"""Products in bfloat16 on a processor's units: what rounding the rows up adds is never seen."""

import pytest
import torch
from torch.nn import functional

from components.modeling import precision
from components.modeling.even_rows import even_linear, even_rows, filled_up
from components.modeling.logprobs import head_logprobs


@pytest.mark.parametrize(("rows", "expected"), [(1, 32), (32, 32), (33, 64), (511, 512), (513, 544), (1025, 1088), (4096, 4096), (4097, 4352)])
def test_rows_are_rounded_up_to_few_different_numbers(rows, expected):
    assert even_rows(rows) == expected


def test_few_numbers_of_rows_are_left_and_none_grows_by_more_than_a_sixteenth():
    assert len({even_rows(rows) for rows in range(513, 4097)}) == 3 * 16
    assert max(even_rows(rows) / rows for rows in range(513, 4097)) <= 1 + 1 / 16


def test_values_are_rounded_and_followed_by_zeros():
    filled = filled_up(torch.tensor([[1 + 2**-9, 2.0]]), torch.bfloat16)
    assert filled.dtype is torch.bfloat16
    assert filled.tolist() == [[1.0, 2.0]] + [[0.0, 0.0]] * 31


@pytest.mark.parametrize("rows", [1, 32, 45])
def test_a_product_and_its_gradients_are_those_of_the_rows_alone(rows):
    random = torch.Generator().manual_seed(1)
    values, matrix, weights = (torch.randn(size, generator=random).bfloat16().float() for size in ((rows, 24), (40, 24), (rows, 40)))
    given = values.clone().requires_grad_(), matrix.bfloat16().requires_grad_()
    result = even_linear(*given)
    (result * weights).sum().backward()
    exact = values.clone().requires_grad_(), matrix.clone().requires_grad_()
    expected = functional.linear(*exact)
    (expected * weights).sum().backward()
    assert (result.dtype, given[0].grad.dtype, given[1].grad.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    for actual, wanted in ((result, expected), (given[0].grad, exact[0].grad), (given[1].grad.float(), exact[1].grad)):
        assert actual.shape == wanted.shape
        torch.testing.assert_close(actual, wanted, rtol=2**-8, atol=1e-5)  # operands are exact, a result is rounded to 8 bits


def test_a_matrix_that_is_not_learnt_gets_no_gradient_and_none_is_computed():
    values, matrix = torch.ones(3, 4, requires_grad=True), torch.ones(2, 4, dtype=torch.bfloat16)
    even_linear(values, matrix).sum().backward()
    assert matrix.grad is None and torch.equal(values.grad, torch.full((3, 4), 2.0))


def test_log_probabilities_and_their_gradients_are_those_of_the_tokens_alone(monkeypatch):
    found = {}
    for name, has_units in (("float32", False), ("bfloat16", True)):
        monkeypatch.setattr(precision, "has_bfloat16_units", lambda has_units=has_units: has_units)
        random = torch.Generator().manual_seed(2)
        hidden, head = (torch.randn(size, generator=random).bfloat16().float().requires_grad_() for size in ((45, 16), (70, 16)))
        logprobs, entropy = head_logprobs(head, hidden, torch.arange(45), temperature=0.7, precision=name, with_entropy=True)
        (logprobs.sum() - 0.1 * entropy.sum()).backward()
        found[name] = (logprobs.detach(), entropy.detach(), hidden.grad, head.grad)
    for actual, wanted in zip(found["bfloat16"], found["float32"], strict=True):
        assert actual.shape == wanted.shape
        assert (actual - wanted).norm() / wanted.norm() < 0.02  # logits of a few units, rounded to 8 bits
