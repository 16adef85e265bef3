"""A GPU's forms of the elementwise parts, run here uncompiled, against the processor's; and what compiling needs."""

import pytest
import torch
from torch.nn import functional

from components.modeling import compiled, fused, fused_gpu
from components.modeling.attention import HeadShape, rotated_heads

TOKENS, SHAPE = 9, HeadShape(heads=4, key_value_heads=2, size=8, epsilon=1e-6)


def _values_and_gradients(function, *inputs):
    leaves = [part.clone().requires_grad_() for part in inputs]
    output = function(*leaves)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), leaves)]


def _assert_equal(mine, theirs, *inputs):
    for one, other in zip(_values_and_gradients(mine, *inputs), _values_and_gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_norm():
    hidden = torch.randn(TOKENS, 12)
    _assert_equal(
        lambda x: fused_gpu.normalise(x, epsilon=1e-5, dtype=torch.float32), lambda x: functional.rms_norm(x, (12,), None, 1e-5), hidden
    )  # fmt: skip
    with torch.no_grad():
        assert fused_gpu.normalise(hidden, epsilon=1e-5, dtype=torch.bfloat16).dtype is torch.bfloat16


def test_gated_silu():
    _assert_equal(fused_gpu.gated_silu, lambda x: functional.silu(x[:, :6]) * x[:, 6:], torch.randn(TOKENS, 12))


def test_scaled_columns():
    _assert_equal(lambda m, c: fused_gpu.scale_columns(m, c, torch.float32), lambda m, c: m * c, torch.randn(7, 5), torch.randn(5))


def test_in_bfloat16_a_matrix_is_rounded_once_and_its_gradient_is_float32():
    matrix, columns = torch.randn(7, 5, requires_grad=True), torch.randn(5, requires_grad=True)
    scaled = fused_gpu.scale_columns(matrix, columns, torch.bfloat16)
    assert torch.equal(scaled, (matrix * columns).bfloat16())
    gradients = torch.autograd.grad(scaled.float().sum(), (matrix, columns))
    assert [part.dtype for part in gradients] == [torch.float32, torch.float32]


@pytest.mark.parametrize("has_norms", [True, False])
def test_turned_heads(has_norms):
    joined = torch.randn(TOKENS, 8, 8)
    angles = torch.randn(TOKENS, 1, 4)
    norms = [torch.rand(6, 8) + 0.5] if has_norms else []

    def mine(joined, *norms):
        return fused_gpu.turn_heads(joined, norms[0] if norms else None, angles.cos(), angles.sin(), SHAPE.epsilon, SHAPE.key_value_heads)

    def theirs(joined, *norms):
        return torch.cat(rotated_heads(joined, norms[0] if norms else None, angles.cos(), angles.sin(), SHAPE), dim=1)

    _assert_equal(mine, theirs, joined, *norms)


def test_on_a_processor_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", lambda function: pytest.fail("compiled"))
    fused.gated_silu(torch.randn(3, 4))
    fused_gpu.gated_silu(torch.randn(3, 4))


def test_without_a_c_compiler_it_is_said_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    compiled.has_compiler.cache_clear()
    with pytest.warns(UserWarning, match="no C compiler is here") as said:
        assert [compiled.has_compiler(), compiled.has_compiler()] == [False, False]
    assert len(said) == 1
    compiled.has_compiler.cache_clear()
