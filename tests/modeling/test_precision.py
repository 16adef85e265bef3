"""Which number type `auto` stands for, and where bfloat16 has units of its own: read off what processors say of themselves."""

from types import SimpleNamespace

import pytest
import torch

from components.modeling import precision
from components.modeling.precision import Products, dtype_of, prefers_bfloat16, products_in, resolve_precision
from flows.size_command import RunSpeed


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_bfloat16_is_preferred_where_the_processor_has_fast_units_for_it(processor, expected):
    assert prefers_bfloat16(processor) is expected


def test_an_explicit_precision_is_kept():
    assert (resolve_precision("float32"), dtype_of("float32")) == ("float32", torch.float32)
    assert (resolve_precision("bfloat16"), dtype_of("bfloat16")) == ("bfloat16", torch.bfloat16)


@pytest.mark.parametrize("has_units", [True, False])
def test_auto_is_float32_on_every_processor(monkeypatch, has_units):
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda: has_units)
    monkeypatch.setattr(precision, "has_bfloat16_gpu", lambda: False)
    assert (resolve_precision("auto"), dtype_of("auto")) == ("float32", torch.float32)
    assert products_in("auto") == Products(torch.float32)


def test_auto_is_bfloat16_on_a_gpu_that_has_it(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16_gpu", lambda: True)
    assert resolve_precision("auto") == "bfloat16"
    assert products_in("auto") == Products(torch.bfloat16)


@pytest.mark.parametrize(("is_here", "is_native", "expected"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_gpu_that_only_emulates_bfloat16_does_not_count(monkeypatch, is_here, is_native, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_here)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_native or including_emulation)
    assert precision.has_bfloat16_gpu.__wrapped__() is expected


@pytest.mark.parametrize(
    ("name", "has_units", "expected"),
    [
        ("float32", True, Products(torch.float32)),
        ("float32", False, Products(torch.float32)),
        ("bfloat16", True, Products(torch.float32, has_units=True)),
        ("bfloat16", False, Products(torch.float32, is_rounded=True)),
    ],
)
def test_bfloat16_is_multiplied_in_float32_where_its_units_are_slow_or_missing(monkeypatch, name, has_units, expected):
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda: has_units)
    assert products_in(name) == expected


def test_a_rounded_operand_holds_eight_bits_and_passes_its_gradient_on_unrounded():
    values = torch.tensor([1 + 2**-8, 1 + 2**-7, 3.0], requires_grad=True)  # 8 significant bits: the first lies half way and goes to the even one
    rounded = Products(torch.float32, is_rounded=True).operand(values)
    assert rounded.tolist() == [1.0, 1 + 2**-7, 3.0]
    gradient = torch.tensor([1 + 2**-20, 0.5, -1.0])
    rounded.backward(gradient)
    assert torch.equal(values.grad, gradient)


def test_units_add_a_bias_in_float32():
    products, bias = Products(torch.float32, has_units=True), torch.tensor([2.0**-10, -1.0])
    values, matrix = torch.tensor([[1.0, 2.0, 3.0]]), products.operand(torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert products.linear(products.entering(values), matrix, bias).tolist() == [[4 + 2.0**-10, 1.0]]


@pytest.mark.parametrize(("name", "has_units", "expected"), [("float32", True, 3e9), ("bfloat16", True, 5e9), ("bfloat16", False, 3e9)])
def test_a_plan_counts_on_the_speed_of_what_is_multiplied(monkeypatch, name, has_units, expected):
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda: has_units)
    monkeypatch.setattr("components.sizing.machine.measure_machine", lambda *, threads: SimpleNamespace(float32=3e9, bfloat16=5e9, bandwidth=7e9))
    assert RunSpeed(precision=name).flops_and_bandwidth() == (expected, 7e9)
