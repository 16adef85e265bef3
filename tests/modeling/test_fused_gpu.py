"""A GPU's forms of the elementwise parts, run here uncompiled, against the processor's; and what compiling needs."""

import warnings

import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


class Gated(torch.autograd.Function):
    """What `fused.gated_silu` does on a GPU."""

    @staticmethod
    def forward(ctx, gate_up):
        ctx.save_for_backward(gate_up)
        return fused_gpu.gated(gate_up)

    @staticmethod
    def backward(ctx, grad):
        return fused_gpu.gated_backward(grad, *ctx.saved_tensors)


def test_gated_silu():
    _assert_equal(Gated.apply, lambda x: functional.silu(x[:, :6]) * x[:, 6:], torch.randn(TOKENS, 12))


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
    fused_gpu.gated(torch.randn(3, 4))


class OnGpu(TorchFunctionMode):
    """Every tensor says that it lies on a GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return True if func == torch.Tensor.is_cuda.__get__ else func(*args, **(kwargs or {}))


def test_a_kind_is_compiled_once_on_a_sample_of_its_own_and_serves_any_length(monkeypatch):
    calls = []

    @compiled.compiled_on_gpu("rows", "others")
    def added(rows, column, others, number):
        return rows + column * others * number

    def recorder(function):
        return lambda *given: calls.append([tuple(part.shape) for part in given[:3]]) or function(*given)

    monkeypatch.setattr(compiled, "has_compiler", lambda: True)
    monkeypatch.setattr(compiled, "_compiled", recorder)
    sample = [(compiled.SAMPLE_TOKENS, 4), (4,), (compiled.SAMPLE_TOKENS, 1)]
    column = torch.arange(4.0)
    with OnGpu():
        for length in (3, 7, 3):
            rows, others = torch.randn(4, length).t(), torch.randn(length, 1)
            assert torch.equal(added(rows, column, others, 2), rows + column * others * 2)
        assert calls == [sample, *([(length, 4), (4,), (length, 1)] for length in (3, 7, 3))]
        calls.clear()
        added(rows.double(), column, others, 2)  # other kinds: a number type, a number that is none of the tokens', the mode
        added(rows, column, others, 3)
        mode = torch.get_deterministic_debug_mode()
        torch.set_deterministic_debug_mode("default" if mode else "error")
        added(rows, column, others, 2)
        torch.set_deterministic_debug_mode(mode)
        added(rows, column, others, 2)  # known
    assert [shapes == sample for shapes in calls] == [True, False, True, False, True, False, False]


def test_compiled_forms_get_plain_contiguous_tensors(monkeypatch):
    seen = []
    monkeypatch.setattr(compiled, "has_compiler", lambda: True)
    monkeypatch.setattr(compiled, "_compiled", lambda function: lambda *given: seen.extend(given) or function(*given))
    with OnGpu(), torch.no_grad():
        fused_gpu.gated(torch.randn(6, 4, requires_grad=True).t())
    assert all(part.is_contiguous() and not part.requires_grad for part in seen) and len(seen) == 2


@pytest.mark.parametrize(
    ("programs", "environment", "is_enough"),
    [(("gcc",), {}, True), (("clang",), {}, True), (("cc",), {}, False), (("gcc",), {"CC": "absent"}, False), (("mine",), {"CC": "mine"}, True)],
)
def test_what_triton_takes_for_a_c_compiler(monkeypatch, tmp_path, programs, environment, is_enough):
    for program in programs:
        (tmp_path / program).touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiled.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.delenv("CC", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    compiled.has_compiler.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert compiled.has_compiler() is is_enough
    (tmp_path / "Python.h").unlink()
    compiled.has_compiler.cache_clear()
    with pytest.warns(UserWarning, match=r"no Python\.h"):
        assert not compiled.has_compiler()
    compiled.has_compiler.cache_clear()


def test_without_a_c_compiler_it_is_said_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    compiled.has_compiler.cache_clear()
    with pytest.warns(UserWarning, match="no C compiler") as said:
        assert [compiled.has_compiler(), compiled.has_compiler()] == [False, False]
    assert len(said) == 1
    compiled.has_compiler.cache_clear()
