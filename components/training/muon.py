"""Muon over stacked matrices: what `torch.optim.Muon` computes, matrices of one shape orthogonalised together.

Momentum, then its orthogonal factor by five Newton–Schulz steps, scaled to AdamW's root mean square (Jordan et al. 2024;
arXiv:2502.16982). Departures from PyTorch's: products in the asked precision instead of always bfloat16, which some
processors multiply slowly; one batched product a shape instead of one a matrix. Momentum is kept a parameter, as there.
Matrices that lie in parts on the ranks are orthogonalised whole, on every rank.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from components.training.parts import in_parts_like, whole_tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum orthogonalised; for matrices only."""

    def __init__(self, params: list, *, lr: float, momentum: float, weight_decay: float, dtype: torch.dtype) -> None:  # type: ignore[type-arg]
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Step every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    rows, columns = matrix.shape
                    by_shape[min(rows, columns), max(rows, columns)].append(matrix)
            for (_, longer), matrices in by_shape.items():
                directions = [whole_tensor(direction) for direction in self._directions(matrices, group["momentum"])]
                factors = orthogonal_factors(directions, dtype=self.dtype)
                directions = [in_parts_like(factor, matrix) for factor, matrix in zip(factors, matrices, strict=True)]
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, directions, alpha=-group["lr"] * 0.2 * longer**0.5)

    def _directions(self, matrices: list[Tensor], momentum: float) -> list[Tensor]:
        """Move the momenta towards the gradients and return Nesterov's look ahead."""
        gradients = [matrix.grad for matrix in matrices]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        momenta = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, momenta, momentum))


def orthogonal_factors(matrices: Sequence[Tensor], *, dtype: torch.dtype) -> list[Tensor]:
    """Return about U Vᵀ of each matrix U S Vᵀ: five steps of X ← aX + (bXXᵀ + c(XXᵀ)²)X, singular values in .7 to 1.2.

    Args:
        matrices: of one shape or its transpose.
    """
    is_tall = [matrix.shape[0] > matrix.shape[1] for matrix in matrices]
    wide = torch.stack([matrix.mT if tall else matrix for matrix, tall in zip(matrices, is_tall, strict=True)])
    wide = (wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=EPSILON)).to(dtype)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = torch.bmm(wide, wide.mT)
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return [factor.mT if tall else factor for factor, tall in zip(wide.to(matrices[0].dtype).unbind(), is_tall, strict=True)]
