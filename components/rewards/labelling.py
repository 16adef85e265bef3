"""Preference pairs labelled by the oracle: sampled answers and corrupted gold answers, better against worse.

One set of pairs for honesty and one for helpfulness, equally many. A pair needs a difference of at least
`minimum_margin` in its dimension (ties are dropped). Two kinds of turns are taken: pairs of two sampled answers, which
is what a reward model is asked about later, and the others; pairs whose better answer is the longer one and those whose
better is the shorter one, so that length alone predicts as little as it can. Every case with a gold answer has it among
its candidates. Deterministic in (cases, samples, seed).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

from components.cases.case import Case
from components.conversations import PreferencePair
from components.lineage import digest_value
from components.rewards.answer_parsing import split_reasoning
from components.rewards.corruptions import corrupted_answers
from components.rewards.oracle import Oracle, OracleScores
from components.turns import in_turns

DIMENSIONS = ("honesty", "helpfulness")


def make_pairs(
    cases: Sequence[Case],
    samples: Mapping[str, Sequence[str]],
    oracle: Oracle,
    *,
    seed: int,
    pairs_per_case: int = 6,
    minimum_margin: float = 0.1,
) -> list[PreferencePair]:
    """Label candidates and pair them.

    Args:
        samples: case id → sampled answers; reasoning is stripped, since reward models read final answers.
        pairs_per_case: pairs a case and dimension at most.
    Returns:
        Pairs in the order of the cases, as many for honesty as for helpfulness (the surplus of one is cut evenly).
    """
    by_dimension: dict[str, list[PreferencePair]] = {dimension: [] for dimension in DIMENSIONS}
    for case in cases:
        random = Random(f"{seed}/{case.id}")
        answers = [split_reasoning(text)[1] for text in samples.get(case.id, ())]
        scored, sampled = label_candidates(case, answers, oracle, random=random), frozenset(answers)
        for dimension in DIMENSIONS:
            by_dimension[dimension].extend(
                _pairs_of_case(case, dimension, scored, sampled, random=random, count=pairs_per_case, minimum_margin=minimum_margin)
            )
    size = min(len(pairs) for pairs in by_dimension.values())
    return [pair for dimension in DIMENSIONS for pair in _evenly(by_dimension[dimension], size)]


def label_candidates(case: Case, answers: Sequence[str], oracle: Oracle, *, random: Random) -> dict[str, OracleScores]:
    """Return distinct candidate → scores: sampled answers, the gold answer and its corruptions."""
    candidates = [*answers, case.answer, *corrupted_answers(case, oracle, random=random).values()]
    return {text: oracle.judge(case, text) for text in dict.fromkeys(candidates) if text}


def _pairs_of_case(
    case: Case, dimension: str, scored: Mapping[str, OracleScores], sampled: frozenset[str], *, random: Random, count: int, minimum_margin: float
) -> list[PreferencePair]:
    ordered = []
    for first, second in combinations(scored, 2):
        difference = getattr(scored[first], dimension) - getattr(scored[second], dimension)
        if abs(difference) >= minimum_margin:
            ordered.append((first, second, difference) if difference > 0 else (second, first, -difference))
    random.shuffle(ordered)
    alternating = in_turns(ordered, lambda pair: not sampled.issuperset(pair[:2]), lambda pair: len(pair[0].split()) <= len(pair[1].split()))
    return [
        PreferencePair(
            id=f"{case.id}-{dimension}-{digest_value([better, worse])[:12]}",
            dimension=dimension,  # type: ignore[arg-type]
            messages=case.messages,
            chosen=better,
            rejected=worse,
            margin=round(margin, 6),
            cluster=case.cluster,
        )
        for better, worse, margin in alternating[:count]
    ]


def _evenly(pairs: list[PreferencePair], size: int) -> list[PreferencePair]:
    """Keep `size` pairs spread evenly over the list."""
    return [pairs[index * len(pairs) // size] for index in range(size)]
