"""What a policy step must not be taken on: answers of spoilt weights, and a policy that does not start at its reference."""

import math

from components.errors import Diverged
from components.training.policy.collection import Collection
from components.training.policy.update import UpdateStatistics

START_TOLERANCE = 1e-5  # nats: KL to the reference before the first step, where the weights are the same


def refuse_unsound_answers(collected: Collection) -> None:
    """Check that what was sampled was sampled from a distribution.

    Raises:
        Diverged: a log-probability is NaN; such answers are all alike and would only ever be left out for want of spread.
    """
    answers = [answer for group in collected.groups for answer in group.answers]
    if any(math.isnan(value) for answer in answers for value in answer.sampler_logprobs):
        raise Diverged("the log-probabilities of sampled answers are NaN: the weights are spoilt; go on from the last checkpoint")


def refuse_drift_at_start(statistics: UpdateStatistics) -> None:
    """Check that before the first step the policy is its reference: KL 0, ratio 1.

    Raises:
        Diverged: it is not, so policy and reference are scored differently.
    """
    kl = statistics.kl_sum / max(statistics.tokens, 1)
    if abs(kl) > START_TOLERANCE or statistics.ratio_error > START_TOLERANCE:
        raise Diverged(
            f"before the first step KL is {kl:.2e} (expected 0) and the ratio is off by {statistics.ratio_error:.2e}: "
            "policy and reference are not scored alike; report this as a fault of the training engine",
            values=statistics.metrics(),
        )
