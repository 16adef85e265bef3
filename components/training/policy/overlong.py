"""The soft overlong penalty (DAPO, arXiv:2503.14476 eq. 13): the last tokens before the limit cost more and more.

With L the limit, b the buffer and |y| the answer's tokens, stop token included: 0 up to L − b, then (L − b − |y|) / b, and
−1 from L on. It is a reward of its own, `overlong`: recorded beside the others, weighted in `reward_weights`, added to them.
A truncated answer gets −1; with `mask_truncated` it enters its group's statistics, but not the loss.
"""

from collections.abc import Sequence
from dataclasses import replace

from components.training.policy.groups import Group

OVERLONG = "overlong"


def overlong_penalty(tokens: int, *, limit: int, buffer: int) -> float:
    """Return the penalty of an answer of `tokens` tokens, −1 to 0; `buffer` is above 0."""
    return max(-1.0, min(0.0, (limit - buffer - tokens) / buffer))


def penalise_overlong(groups: Sequence[Group], *, limit: int, buffer: int) -> list[Group]:
    """Return the groups with the penalty among their answers' rewards; unchanged where `buffer` is 0.

    An answer that no reward applies to stays without one.
    """
    if not buffer:
        return list(groups)
    return [
        replace(
            group,
            answers=tuple(
                replace(
                    answer,
                    rewards={**answer.rewards, OVERLONG: overlong_penalty(len(answer.ids), limit=limit, buffer=buffer)},
                )
                if answer.rewards
                else answer
                for answer in group.answers
            ),
        )
        for group in groups
    ]
