"""The fused parts against their plain forms, by autograd in float64 where the plain form allows it."""

import torch
from torch.nn import functional

from components.modeling.fused import gated_silu, normalise, rotate


def test_gated_silu_equals_its_plain_form_with_gradient():
    values = torch.randn(7, 12, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(gated_silu(values), functional.silu(values[:, :6]) * values[:, 6:])
    assert torch.autograd.gradcheck(gated_silu, values)


def test_normalise_equals_rms_norm_with_gradient():
    values = torch.randn(7, 12, requires_grad=True)
    weights = torch.randn(7, 12)
    actual = normalise(values, epsilon=1e-6, dtype=torch.float32)
    (gradient,) = torch.autograd.grad((actual * weights).sum(), values)
    plain = values / (values.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    (expected,) = torch.autograd.grad((plain * weights).sum(), values)
    torch.testing.assert_close(actual, plain)
    torch.testing.assert_close(gradient, expected)


def test_rotation_by_a_right_angle_by_hand():
    # (x1, x2) turned by 90 degrees is (-x2, x1).
    turned = rotate(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
    assert turned.tolist() == [[[-3.0, -4.0, 1.0, 2.0]]]
