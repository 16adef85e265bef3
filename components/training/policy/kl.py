"""Estimators of the KL divergence to the reference, per sampled token, as penalties in a loss.

With l = log(π_ref / π_θ) of the sampled token and r = π_θ / π_old:

    k2        l² / 2
    k3        e^l − l − 1                 (arXiv:2402.03300 eq. 4; http://joschu.net/blog/kl-approx.html)
    ratio_k3  r · (e^l − l − 1)           (DeepSeek-V3.2, arXiv:2512.02556)

As a value k3 is unbiased on-policy; as a loss its gradient is not that of the reverse KL. k2 and ratio×k3 give the
true gradient (tests/training/policy/test_kl.py checks all three against the exact gradient of a categorical).
"""

from collections.abc import Callable

from torch import Tensor


def k2(logprobs_T: Tensor, reference_T: Tensor, ratio_T: Tensor) -> Tensor:
    """Return l²/2 per token, (tokens,), nats."""
    return (reference_T - logprobs_T).square() / 2


def k3(logprobs_T: Tensor, reference_T: Tensor, ratio_T: Tensor) -> Tensor:
    """Return e^l − l − 1 per token, (tokens,), nats; never negative."""
    log_ratio_T = reference_T - logprobs_T
    return log_ratio_T.exp() - log_ratio_T - 1


def ratio_k3(logprobs_T: Tensor, reference_T: Tensor, ratio_T: Tensor) -> Tensor:
    """Return r · (e^l − l − 1) per token, (tokens,), nats; `ratio_T` carries a gradient."""
    return ratio_T * k3(logprobs_T, reference_T, ratio_T)


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"k2": k2, "k3": k3, "ratio_k3": ratio_k3}
