"""The scalar head of a reward model, read at chosen tokens."""

import torch
from torch import Tensor


def scores_at(hidden_TD: Tensor, tokens_A: Tensor, weight_1D: Tensor) -> Tensor:
    """Return the head's value at each token, (tokens,), float32.

    Args:
        hidden_TD: (all tokens, hidden), after the last norm.
        tokens_A: (tokens,), int64, on its device.
        weight_1D: (1, hidden), float32.
    """
    return torch.nn.functional.linear(hidden_TD.index_select(0, tokens_A).float(), weight_1D)[:, 0]
