"""Truncated importance sampling: what makes up for a sampler that does not draw exactly from the trainer's old policy.

Another engine, precision or kernel gives the sampled token probability s where the trainer's old policy gives it π_old.
Per token the weight is sg(min(π_old / s, cap)) (Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training"; cap about 2). Per token, because the product over an answer drifts: 1e-3 a token is a factor
of 2.7 over 1,000 tokens. An answer whose geometric mean of π_old / s is far from 1 can be left out whole.

The weight falls on objective and KL penalty alike, both being expectations over the old policy (departure: others weigh
the objective alone). An answer left out has weight 0 and keeps its place in the step's totals: it is known only after
the forward pass, and totals taken from a micro-batch would make the loss depend on how the step is cut.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from components.training.policy.losses.loss import answer_means


@dataclass(frozen=True)
class SamplerCorrection:
    """Weights (tokens,), float32, without gradient (None: all 1), and how many tokens were capped or are left out."""

    weights_T: Tensor | None
    capped: int
    masked: int


@torch.no_grad()
def sampler_correction(gap_T: Tensor, lengths_A: Tensor, *, cap: float, gap_limit: float) -> SamplerCorrection:
    """Return min(π_old / s, cap) of each token, 0 in answers whose |mean_t log(π_old / s)| is above the limit.

    Args:
        gap_T: log(π_old / s) of the sampled tokens, (tokens,), nats; answers laid end to end.
        lengths_A: (answers,), int64.
        cap: above 0; 0 leaves the weights at 1.
        gap_limit: nats a token; 0 leaves no answer out.
    """
    if not cap and not gap_limit:
        return SamplerCorrection(None, 0, 0)
    weights_T, is_capped_T = torch.ones_like(gap_T), torch.zeros_like(gap_T, dtype=torch.bool)
    if cap:
        ratio_T = gap_T.exp()
        weights_T, is_capped_T = ratio_T.clamp(max=cap), ratio_T > cap
    is_kept_T = torch.ones_like(is_capped_T)
    if gap_limit:
        is_kept_T = (answer_means(gap_T, lengths_A).abs() <= gap_limit).repeat_interleave(lengths_A)
    capped, masked = int((is_capped_T & is_kept_T).sum()), int((~is_kept_T).sum())
    return SamplerCorrection(torch.where(is_kept_T, weights_T, 0.0), capped, masked)
