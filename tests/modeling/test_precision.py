"""Which number type `auto` stands for: read off what processors say of themselves."""

import pytest
import torch

from components.modeling.precision import dtype_of, prefers_bfloat16, resolve_precision


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


def test_an_explicit_precision_is_kept_and_auto_is_one_of_them():
    assert dtype_of("float32") is torch.float32
    assert dtype_of("bfloat16") is torch.bfloat16
    assert dtype_of("auto") is dtype_of(resolve_precision("auto"))
    assert resolve_precision("auto") in ("float32", "bfloat16")
