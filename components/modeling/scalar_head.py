"""The scalar head of a reward model."""

import torch
from torch import Tensor


def scalar_scores(hidden_AD: Tensor, weight_1D: Tensor) -> Tensor:
    """Return the head's value at each token, (tokens,), float32.

    Args:
        hidden_AD: (tokens, hidden), after the last norm.
        weight_1D: (1, hidden), float32.
    """
    return torch.nn.functional.linear(hidden_AD.float(), weight_1D)[:, 0]
