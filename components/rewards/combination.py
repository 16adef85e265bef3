"""Several rewards for one answer: which apply to which case, one value each, and their weighted sum.

Every term is asked only about the cases it applies to, in one call, and must return one number or None for each. A
None stands for "could not be scored": the answer is left out and counted, never scored 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.cases.case import Case
from components.errors import DataError

BatchReward = Callable[[Sequence[Case], Sequence[str]], Sequence[float | None]]


@dataclass(frozen=True)
class RewardTerm:
    """One named reward; `score` takes (cases, texts) and returns a value for each."""

    name: str
    score: BatchReward
    applies: Callable[[Case], bool] = lambda case: True


def score_answers(
    terms: Sequence[RewardTerm], cases: Sequence[Case], texts: Sequence[str]
) -> list[dict[str, float | None]]:
    """Return, for each answer, the values of the terms that apply to its case.

    Raises:
        DataError: a term returned another number of values than it was asked for.
    """
    rewards: list[dict[str, float | None]] = [{} for _ in cases]
    for term in terms:
        chosen = [index for index, case in enumerate(cases) if term.applies(case)]
        if not chosen:
            continue
        values = term.score([cases[index] for index in chosen], [texts[index] for index in chosen])
        if len(values) != len(chosen):
            raise DataError(f"reward {term.name}: {len(values)} values for {len(chosen)} answers; return one an answer")
        for index, value in zip(chosen, values, strict=True):
            rewards[index][term.name] = value
    return rewards


def one_by_one(score: Callable[[Case, str], float | None]) -> BatchReward:
    """Turn a scorer of one answer into a batch reward; an answer that makes it fail is unscored (None)."""

    def scored(case: Case, text: str) -> float | None:
        try:
            return score(case, text)
        except Exception:  # a grader's fault must not be read as a wrong answer, nor end a run: counted by the caller
            return None

    return lambda cases, texts: [scored(case, text) for case, text in zip(cases, texts, strict=True)]
