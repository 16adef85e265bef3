"""Muon: the step of PyTorch's, from stacked matrices and in any precision."""

import pytest
import torch
from torch import nn

from components.training.muon import Muon, orthogonal_factors

SHAPES = ((24, 16), (16, 24), (16, 16), (8, 24), (24, 16))


def _matrices(*, seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _give_gradients(matrices, *, seed):
    generator = torch.Generator().manual_seed(seed)
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape, generator=generator)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float32, 0.04)])
def test_steps_are_those_of_pytorch(dtype, tolerance):
    # PyTorch orthogonalises in bfloat16 whatever it is asked, so only to that number's accuracy (2⁻⁸ a product, five steps).
    ours, theirs = _matrices(seed=1), _matrices(seed=1)
    start = [matrix.detach().clone() for matrix in ours]
    one = Muon([{"params": ours}], lr=0.02, momentum=0.95, weight_decay=0.1, dtype=dtype)
    other = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for seed in range(3):
        _give_gradients(ours, seed=seed)
        _give_gradients(theirs, seed=seed)
        one.step()
        other.step()
    for before, mine, reference in zip(start, ours, theirs, strict=True):
        moved = (reference - before).norm()
        assert float((mine - reference).detach().norm() / moved.detach()) < tolerance
        torch.testing.assert_close(one.state[mine]["momentum_buffer"], other.state[reference]["momentum_buffer"])


def test_factors_have_singular_values_near_one_and_the_directions_of_the_matrix():
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(3))
    wide, tall = orthogonal_factors([matrix, matrix.mT.contiguous()], dtype=torch.float32)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    # In the matrix's own basis the factor is diagonal, its values in the band of the quintic (about .68 to 1.13).
    in_basis = left.mT @ wide @ right.mT
    assert torch.all((in_basis.diagonal() > 0.65) & (in_basis.diagonal() < 1.25))
    torch.testing.assert_close(in_basis, torch.diag(in_basis.diagonal()), rtol=0, atol=1e-4)
    torch.testing.assert_close(tall, wide.mT, rtol=0, atol=1e-5)


def test_a_matrix_without_a_gradient_stays():
    matrices = _matrices(seed=2)
    before = matrices[1].detach().clone()
    _give_gradients(matrices, seed=5)
    matrices[1].grad = None
    Muon([{"params": matrices}], lr=0.02, momentum=0.95, weight_decay=0.1, dtype=torch.float32).step()
    torch.testing.assert_close(matrices[1].detach(), before, rtol=0, atol=0)
