"""Best of N: the candidate with the highest mean of standardised reward-model scores among those that keep the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from components.cases.case import Case


@dataclass(frozen=True)
class Candidate:
    """One sampled answer with what the rules and the reward models say of it."""

    text: str
    broken: tuple[str, ...]
    rewards: Mapping[str, float] = field(default_factory=dict)  # reward model → raw score; empty where a rule is broken


@dataclass(frozen=True)
class Query:
    """A case with its candidates, in the order they were sampled, and the chosen one's place (None: all break rules)."""

    case: Case
    candidates: tuple[Candidate, ...]
    chosen: int | None


def choose(cases: Sequence[Case], candidates: Sequence[Sequence[Candidate]]) -> list[Query]:
    """Choose for each case; scores are standardised over all candidates of the same reward model that keep the rules.

    Ties go to the candidate sampled first.
    """
    names = sorted({name for group in candidates for candidate in group for name in candidate.rewards})
    scales = {name: _scale([c.rewards[name] for group in candidates for c in group if name in c.rewards]) for name in names}
    return [Query(case, tuple(group), _best(group, scales)) for case, group in zip(cases, candidates, strict=True)]


def _best(group: Sequence[Candidate], scales: Mapping[str, tuple[float, float]]) -> int | None:
    keeping = [index for index, candidate in enumerate(group) if not candidate.broken]
    if not keeping:
        return None
    return max(keeping, key=lambda index: (_standardised(group[index], scales), -index))


def _standardised(candidate: Candidate, scales: Mapping[str, tuple[float, float]]) -> float:
    values = [(candidate.rewards[name] - mean) / deviation for name, (mean, deviation) in scales.items()]
    return float(np.mean(values)) if values else 0.0


def _scale(values: Sequence[float]) -> tuple[float, float]:
    deviation = float(np.std(values))
    return float(np.mean(values)), deviation if deviation > 1e-8 else 1.0
