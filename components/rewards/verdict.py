"""What a grader says about one answer: a score with its reason, or that it could not be scored."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The outcome of grading one answer.

    Attributes:
        score: 0 to 1, or None where the grader could not judge (left out and counted, never read as 0).
        reason: one short sentence for tables and reports.
        is_abstained: no answer could be read from the text; it scores 0 and is counted apart.
    """

    score: float | None
    reason: str
    is_abstained: bool = False


def abstained(reason: str) -> Verdict:
    """Return the verdict of a text that holds no readable answer: wrong, and counted apart."""
    return Verdict(0.0, reason, is_abstained=True)


def unscored(reason: str) -> Verdict:
    """Return the verdict of a case the grader cannot judge (a fault of ours, not of the answer)."""
    return Verdict(None, reason)
