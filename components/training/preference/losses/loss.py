"""What every direct preference loss is a function of: the difference h of a pair's two log ratios to the reference.

    h = log π(y_w|x)/π_ref(y_w|x) − log π(y_l|x)/π_ref(y_l|x)

Both are sums over the answer's tokens, end of turn included; no prompt token counts (arXiv:2305.18290 §4).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossShape:
    """`beta`, above 0: see each loss. `label_smoothing`, 0 to below 0.5: the share of labels that are wrong."""

    beta: float
    label_smoothing: float = 0.0


# (h_P, shape) → the loss of each pair; both (pairs,), float32
PreferenceLoss = Callable[[Tensor, LossShape], Tensor]
