"""Every loss variant against its paper's formula, written out on padded tensors and differentiated by autograd.

Nothing here is shared with the implementation: answers are rows padded with garbage, sums run over masks, and the
gradient with respect to each token's log-probability is autograd's.
"""

import pytest
import torch
from torch import Tensor

from components.training.policy.losses.loss import AnswerTokens, ClipRange, StepTotals, policy_loss
from components.training.policy.losses.registry import LOSSES

LENGTHS = [5, 1, 7, 3, 2, 6]
LONGEST, LIMIT = 7, 9
ADVANTAGES = torch.tensor([1.2, -0.7, 0.0, -1.5, 0.4, 0.6], dtype=torch.float64)
BETA = 0.05
MASK_BT = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]


def padded(seed: int, scale: float) -> Tensor:
    return torch.randn(len(LENGTHS), LONGEST, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def k3_penalty(new: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
    return ratio * ((reference - new).exp() - (reference - new) - 1)


def token_surrogate(ratio: Tensor, clip: ClipRange) -> Tensor:
    advantage = ADVANTAGES[:, None]
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip.low, 1 + clip.high) * advantage)


def grpo(new: Tensor, old: Tensor, reference: Tensor, clip: ClipRange) -> Tensor:
    """2402.03300 eq. 3: mean over answers of the mean over tokens."""
    ratio = (new - old).exp()
    per_token = (token_surrogate(ratio, clip) - BETA * k3_penalty(new, reference, ratio)) * MASK_BT
    return (per_token.sum(dim=1) / MASK_BT.sum(dim=1)).mean()


def dapo(new: Tensor, old: Tensor, reference: Tensor, clip: ClipRange) -> Tensor:
    """2503.14476 eq. 8: sum over all tokens over their number."""
    ratio = (new - old).exp()
    per_token = (token_surrogate(ratio, clip) - BETA * k3_penalty(new, reference, ratio)) * MASK_BT
    return per_token.sum() / MASK_BT.sum()


def dr_grpo(new: Tensor, old: Tensor, reference: Tensor, clip: ClipRange) -> Tensor:
    """2503.20783 §3.2: mean over answers of the sum over tokens, over a constant."""
    ratio = (new - old).exp()
    per_token = (token_surrogate(ratio, clip) - BETA * k3_penalty(new, reference, ratio)) * MASK_BT
    return (per_token.sum(dim=1) / LIMIT).mean()


def gspo(new: Tensor, old: Tensor, reference: Tensor, clip: ClipRange) -> Tensor:
    """2507.18071 eq. 5 and 7: clipped ratios of whole answers; the penalty averaged as in GRPO."""
    length = MASK_BT.sum(dim=1)
    sequence = (((new - old) * MASK_BT).sum(dim=1) / length).exp()
    surrogate = torch.minimum(sequence * ADVANTAGES, sequence.clamp(1 - clip.low, 1 + clip.high) * ADVANTAGES)
    penalty = ((k3_penalty(new, reference, (new - old).exp()) * MASK_BT).sum(dim=1) / length).mean()
    return surrogate.mean() - BETA * penalty


def cispo(new: Tensor, old: Tensor, reference: Tensor, clip: ClipRange) -> Tensor:
    """2506.13585 eq. 4–5: the detached, clipped weight on A log π, over all tokens."""
    ratio = (new - old).exp()
    weight = ratio.detach().clamp(1 - clip.low, 1 + clip.high)
    per_token = weight * ADVANTAGES[:, None] * new - BETA * k3_penalty(new, reference, ratio)
    return (per_token * MASK_BT).sum() / MASK_BT.sum()


PAPERS = {"grpo": grpo, "dapo": dapo, "dr_grpo": dr_grpo, "gspo": gspo, "cispo": cispo}


def test_every_variant_has_its_formula_here():
    assert PAPERS.keys() == LOSSES.keys()


@pytest.mark.parametrize("clip", [None, ClipRange(0.1, 0.15)], ids=["own range", "narrow range"])
@pytest.mark.parametrize("name", sorted(PAPERS))
def test_loss_and_gradient_are_the_papers(name, clip):
    clip = clip or LOSSES[name].clip
    new_BT, old_BT, reference_BT = padded(1, 0.3) - 2, padded(2, 0.3) - 2, padded(3, 0.4) - 2
    new_BT.requires_grad_()
    expected = -PAPERS[name](new_BT, old_BT, reference_BT, clip)
    expected.backward()

    new_T = new_BT.detach()[MASK_BT].float().requires_grad_()
    lengths_A = torch.tensor(LENGTHS)
    tokens = AnswerTokens(
        logprobs_T=new_T, old_T=old_BT[MASK_BT].float(), reference_T=reference_BT[MASK_BT].float(),
        advantages_T=ADVANTAGES.float().repeat_interleave(lengths_A), lengths_A=lengths_A,
    )  # fmt: skip
    totals = StepTotals(answers=len(LENGTHS), tokens=sum(LENGTHS), max_new_tokens=LIMIT)
    parts = policy_loss(LOSSES[name], tokens, totals=totals, clip=clip, kl="ratio_k3", kl_weight=BETA)
    parts.loss.backward()

    torch.testing.assert_close(parts.loss.detach(), expected.detach().float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(new_T.grad, new_BT.grad[MASK_BT].float(), rtol=0, atol=1e-6)
    assert parts.clipped_sum > 0 or (name == "cispo" and clip.low == 1.0), "the case must exercise the clip range"
