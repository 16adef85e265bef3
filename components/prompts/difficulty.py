"""Difficulty by the model's own rollouts: pass rates, and which prompts are worth training on (report §3.3).

The pass rate of a prompt is the mean verifier score over its rollouts, so partial credit counts; unscored rollouts are
left out. A prompt always answered alike teaches nothing: it needs a pass rate within limits and scores that differ.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.cases.case import Case
from components.rewards.verifiers.registry import verify

Outcome = Literal["kept", "too_hard", "too_easy", "no_spread", "unscored"]
SPREAD_TOLERANCE = 1e-6
BINS = 10


@dataclass(frozen=True)
class Difficulty:
    """What the rollouts of one prompt say; `pass_rate` is None where none could be scored."""

    case: Case
    pass_rate: float | None
    outcome: Outcome
    has_spread: bool = False


def rule_scores(case: Case, texts: Sequence[str]) -> list[float]:
    """Return the verifier's scores of the answers; those it could not score are left out."""
    return [verdict.score for verdict in (verify(case, text) for text in texts) if verdict.score is not None]


def measure_difficulty(case: Case, texts: Sequence[str], *, minimum: float, maximum: float) -> Difficulty:
    """Grade the rollouts of a prompt and decide whether to keep it.

    Args:
        minimum, maximum: limits of the pass rate, inclusive, 0..1.
    """
    scores = rule_scores(case, texts)
    if not scores:
        return Difficulty(case, None, "unscored")
    rate = sum(scores) / len(scores)
    has_spread = max(scores) - min(scores) > SPREAD_TOLERANCE
    outcome: Outcome = "kept"
    if rate < minimum:
        outcome = "too_hard"
    elif rate > maximum:
        outcome = "too_easy"
    elif not has_spread:
        outcome = "no_spread"
    return Difficulty(case, rate, outcome, has_spread)


def usable_prompts(difficulties: Sequence[Difficulty], *, wanted: int) -> tuple[list[Case], int]:
    """Return the kept prompts and, up to `wanted`, those outside the limits whose scores still differ.

    Returns:
        (cases, how many of them lie outside the limits); of these the ones nearest a pass rate of one half come first.
    """
    kept = [difficulty.case for difficulty in difficulties if difficulty.outcome == "kept"]
    outside = [difficulty for difficulty in difficulties if difficulty.outcome != "kept" and difficulty.has_spread]
    outside.sort(key=lambda difficulty: (abs((difficulty.pass_rate or 0.0) - 0.5), difficulty.case.id))
    filled = [difficulty.case for difficulty in outside[: max(0, wanted - len(kept))]]
    return kept + filled, len(filled)


def difficulty_report(difficulties: Sequence[Difficulty]) -> dict[str, dict[str, object]]:
    """Return for each task, and for all, the outcomes, the mean pass rate and its histogram in tenths."""
    report = {}
    for task in ["all", *sorted({difficulty.case.task for difficulty in difficulties})]:
        chosen = [difficulty for difficulty in difficulties if task in ("all", difficulty.case.task)]
        rates = [difficulty.pass_rate for difficulty in chosen if difficulty.pass_rate is not None]
        report[task] = {
            "prompts": len(chosen),
            "mean_pass_rate": sum(rates) / len(rates) if rates else None,
            "histogram": histogram(rates),
            "outcomes": dict(sorted(Counter(difficulty.outcome for difficulty in chosen).items())),
        }
    return report


def histogram(rates: Sequence[float]) -> list[int]:
    """Return counts of rates in [0, .1), [.1, .2), … [.9, 1]."""
    counts = [0] * BINS
    for rate in rates:
        counts[min(BINS - 1, int(rate * BINS + 1e-9))] += 1
    return counts
