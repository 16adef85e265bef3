"""Log-probabilities of chosen tokens, temperature-scaled, in float32 and in chunks: logits are held only where they are small.

With u = z / temperature and Z = logsumexp(u): log p(token) = u_token - Z, and the entropy is H = Z - Σ p u, so one
exponential a logit serves both and the backward. Up to `HELD_ELEMENTS` the probabilities of the whole vocabulary are kept for
the backward; above, it computes each chunk's logits again, one product more for memory that does not grow with tokens ×
vocabulary:

    ∂ log p(token) / ∂u_j = [j = token] - p_j        ∂H / ∂u_j = -p_j log p_j - p_j H

Measured, forward and backward with the entropy, 4,000 tokens, 3,072 × 192 head, one core of a Xeon without AMX: float32
139 ms held, 167 computed again, 199 in chunks of 16 MiB; bfloat16 231, 285 and 312.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from components.modeling.even_rows import even_rows
from components.modeling.precision import Precision, products_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_ELEMENTS = 1 << 20  # logits of one chunk: 4 MiB in float32, of which a CPU's cache holds the most
GPU_CHUNK_ELEMENTS = 1 << 26  # 256 MiB: fewer, and reading the head again for each chunk costs more than its products
LEAST_TOKENS = 24  # of a chunk: with fewer, reading the head costs more than its products
HELD_ELEMENTS = 1 << 24  # probabilities kept for the backward in place of being computed again: 64 MiB


def selected_logprobs(
    model: "PreTrainedModel", hidden_TD: Tensor, targets_T: Tensor, *, temperature: float = 1.0, precision: Precision
) -> Tensor:
    """Return log p(target) of each token under the head's distribution at a temperature: (tokens,), float32.

    Args:
        hidden_TD: final hidden states, after the last norm.
        temperature: above 0; the sampling temperature, for old, new and reference alike.
    """
    return logprobs_and_entropy(model, hidden_TD, targets_T, temperature=temperature, precision=precision)[0]


def logprobs_and_entropy(
    model: "PreTrainedModel",
    hidden_TD: Tensor,
    targets_T: Tensor,
    *,
    temperature: float = 1.0,
    precision: Precision,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return `selected_logprobs` and each token's entropy in nats, both differentiable; entropy is zeros unless asked for."""
    return head_logprobs(
        model.get_output_embeddings().weight, hidden_TD, targets_T, temperature=temperature, precision=precision, with_entropy=with_entropy
    )


def head_logprobs(
    weight_VD: Tensor, hidden_TD: Tensor, targets_T: Tensor, *, temperature: float, precision: Precision, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """Do `logprobs_and_entropy` with the head's weight, (vocabulary, hidden)."""
    products = products_in(precision)
    hidden_TD, head_VD = products.operand(hidden_TD), products.operand(weight_VD)
    if not products.has_units:
        return _SelectedLogprobs.apply(hidden_TD, head_VD, targets_T, temperature, with_entropy)
    tokens = len(targets_T)
    more = even_rows(tokens) - tokens
    filled = functional.pad(hidden_TD, (0, 0, 0, more)), functional.pad(targets_T, (0, more))
    logprobs_T, entropy_T = _SelectedLogprobs.apply(filled[0], head_VD, filled[1], temperature, with_entropy)
    return logprobs_T[:tokens], entropy_T[:tokens]


class _SelectedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_TD, head_VD, targets_T, temperature, with_entropy):  # type: ignore[no-untyped-def]
        chunk = max(LEAST_TOKENS, (GPU_CHUNK_ELEMENTS if head_VD.is_cuda else CHUNK_ELEMENTS) // head_VD.shape[0])
        is_held = any(ctx.needs_input_grad) and len(targets_T) * head_VD.shape[0] <= HELD_ELEMENTS
        logprobs_T = torch.empty(len(targets_T), dtype=torch.float32, device=hidden_TD.device)
        normalisers_T = torch.empty_like(logprobs_T)
        entropy_T = torch.zeros_like(logprobs_T)
        held = []
        for start in range(0, len(targets_T), chunk):
            part = slice(start, start + chunk)
            logits = scaled_logits(hidden_TD[part], head_VD, temperature)
            shares = torch.softmax(logits, dim=-1)
            # The most probable token's share is never too small to be a number, as another's may be.
            normalisers_T[part] = logits.amax(dim=-1) - shares.amax(dim=-1).log()
            logprobs_T[part] = logits.gather(1, targets_T[part, None])[:, 0] - normalisers_T[part]
            if with_entropy:
                entropy_T[part] = (normalisers_T[part] - logits.mul_(shares).sum(dim=-1)).clamp_(min=0)
            if is_held:
                held.append(shares)
        ctx.save_for_backward(hidden_TD, head_VD, targets_T, normalisers_T, entropy_T, *held)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.set_materialize_grads(False)  # an entropy that no loss uses costs the backward nothing
        if not with_entropy:
            ctx.mark_non_differentiable(entropy_T)
        return logprobs_T, entropy_T

    @staticmethod
    def backward(ctx, grad_T, grad_entropy_T):  # type: ignore[no-untyped-def]
        hidden_TD, head_VD, targets_T, normalisers_T, entropy_T, *held = ctx.saved_tensors
        grad_T = torch.zeros_like(entropy_T) if grad_T is None else grad_T
        grad_hidden = torch.empty_like(hidden_TD)
        grad_head = torch.zeros(head_VD.shape, dtype=torch.float32, device=head_VD.device) if ctx.needs_input_grad[1] else None
        for number, start in enumerate(range(0, len(targets_T), ctx.chunk)):
            part = slice(start, start + ctx.chunk)
            scale = grad_T[part, None] / ctx.temperature
            shares = held[number] if held else scaled_logits(hidden_TD[part], head_VD, ctx.temperature).sub_(normalisers_T[part, None]).exp_()
            if grad_entropy_T is None and head_VD.dtype is torch.float32 and not head_VD.is_cuda:
                _add_by_shares(scale, shares, targets_T[part], hidden_TD[part], head_VD, grad_hidden[part], grad_head)
                continue
            if grad_entropy_T is None:
                grad_logits = shares * -scale
            else:
                entropy_scale = grad_entropy_T[part, None] / ctx.temperature
                grad_logits = torch.special.entr(shares).mul_(entropy_scale).sub_(shares * (entropy_T[part, None] * entropy_scale + scale))
            grad_logits.scatter_add_(1, targets_T[part, None], scale)
            grad_logits = grad_logits.to(hidden_TD.dtype)
            grad_hidden[part] = grad_logits @ head_VD
            if grad_head is not None:
                if grad_logits.dtype == grad_head.dtype:
                    grad_head.addmm_(grad_logits.t(), hidden_TD[part])
                else:
                    grad_head += grad_logits.t() @ hidden_TD[part]
        return grad_hidden, None if grad_head is None else grad_head.to(head_VD.dtype), None, None, None


def _add_by_shares(
    scale_T1: Tensor, shares_TV: Tensor, targets_T: Tensor, hidden_TD: Tensor, head_VD: Tensor, grad_hidden_TD: Tensor, grad_head_VD: Tensor | None
) -> None:  # fmt: skip
    """Write the gradient of a chunk's hidden states and add that of the head, with d log p / d logits = onehot(target) − shares.

    The scale is applied to rows as wide as the hidden state, not the vocabulary, and what belongs to the target is added
    apart: the gradient of the logits is never written down (2-core Xeon, 3,850 × 192 × 3,072: 31 ms against 35). In bfloat16
    the two would have to cancel where a target's share is near 1, and its rounding would be left; in float32 that is no more
    than the shares' own.
    """
    torch.sub(head_VD.index_select(0, targets_T), shares_TV @ head_VD, out=grad_hidden_TD).mul_(scale_T1)
    if grad_head_VD is not None:
        scaled_TD = hidden_TD * scale_T1
        grad_head_VD.addmm_(shares_TV.t(), scaled_TD, alpha=-1).index_add_(0, targets_T, scaled_TD)


def scaled_logits(hidden_TD: Tensor, head_VD: Tensor, temperature: float) -> Tensor:
    """Return the head's logits over the temperature, float32."""
    logits_TV = functional.linear(hidden_TD, head_VD).float()
    return logits_TV if temperature == 1.0 else logits_TV.div_(temperature)
