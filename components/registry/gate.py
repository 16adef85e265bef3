"""May the candidate replace the champion? Non-inferiority on every suite, hard vetoes, and a sentence for each.

For each suite with a margin the one-sided lower bound of the paired difference (clustered bootstrap) must lie above
−margin. The first candidate has no champion to be compared with: it must be superior to `base` on one suite.
Vetoes are on the candidate's own answers (format, safety, leakage of identifiers) and are final: a person may overrule a
suite, never a veto. Power is the chance that a candidate equal to the champion passes the suite. Not covered: the spread
over training seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

from components.evaluation.metrics import interval_generator
from components.evaluation.results import ItemResult, case_scores, headline
from components.registry.leakage import measure_leakage
from components.settings.evaluation import GateSettings
from components.statistics.noninferiority import NonInferiority, assess_noninferiority
from components.statistics.paired import align_scores

DRAWS = 2000
NAMED_CASES = 3  # of those that leak, how many the sentence names
UNUSED_MARGIN = 1.0  # superiority has none; the comparison wants a number


@dataclass(frozen=True)
class SuiteVerdict:
    """One line of the gate table; `low` and `high` are the two-sided interval of the difference."""

    suite: str
    rule: Literal["not worse", "superior", "veto"]
    is_passed: bool
    candidate: float
    against: float | None
    difference: float | None
    lower_bound: float | None
    limit: float
    n: int
    sentence: str
    low: float | None = None
    high: float | None = None
    power: float | None = None


@dataclass(frozen=True)
class GateVerdict:
    """The decision and what it rests on."""

    is_passed: bool
    compared_with: str
    suites: tuple[SuiteVerdict, ...]

    @property
    def reasons(self) -> list[str]:
        """The sentences, failures first."""
        return [item.sentence for item in sorted(self.suites, key=lambda item: item.is_passed)]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-serialisable values."""
        return {"is_passed": self.is_passed, "compared_with": self.compared_with, "suites": [asdict(item) for item in self.suites], "reasons": self.reasons}


def judge(
    candidate: Sequence[ItemResult], champion: Sequence[ItemResult] | None, base: Sequence[ItemResult], *, settings: GateSettings, seed: int
) -> GateVerdict:
    """Compare a candidate's rows with the champion's on the same items, or with base's where there is no champion.

    A suite on which nothing can be compared counts against the candidate: what was not measured is not vouched for.
    """
    vetoes = [_veto(candidate, suite, floor) for suite, floor in (("format", settings.format_floor), ("safety", settings.safety_floor))]
    vetoes.append(_leakage(candidate, settings.leakage_ceiling))
    if champion is None:
        suites = [_superiority(candidate, base, settings.first_run_suite, settings=settings, seed=seed)]
    else:
        suites = [_noninferiority(candidate, champion, suite, margin, settings=settings, seed=seed) for suite, margin in settings.margins.items()]
    found = (*vetoes, *suites)
    return GateVerdict(all(item.is_passed for item in found), "base" if champion is None else "champion", found)


def failed_vetoes(verdict: Mapping[str, Any]) -> list[str]:
    """Return the sentences of the vetoes a candidate fell to, which nobody can overrule.

    Args:
        verdict: `GateVerdict.as_dict()`.
    """
    return [item["sentence"] for item in verdict["suites"] if item["rule"] == "veto" and not item["is_passed"]]


def _veto(rows: Sequence[ItemResult], suite: str, floor: float) -> SuiteVerdict:
    scores = list(case_scores(headline(rows, suite)).scores.values())
    if not scores:
        return _unmeasured(suite, "veto", floor)
    value = sum(scores) / len(scores)
    is_passed = value >= floor
    sentence = f"{suite}: {_percent(value)} on {len(scores)} items, {'at least' if is_passed else 'below'} the floor of {_percent(floor)}{'' if is_passed else ' (veto)'}"
    return SuiteVerdict(suite, "veto", is_passed, value, None, None, None, floor, len(scores), sentence)


def _leakage(rows: Sequence[ItemResult], ceiling: float) -> SuiteVerdict:
    found = measure_leakage(rows)
    if not found.answers:
        return _unmeasured("leakage", "veto", ceiling)
    is_passed = found.share <= ceiling
    named = f": {', '.join(found.case_ids[:NAMED_CASES])}{' and others' if len(found.case_ids) > NAMED_CASES else ''}" if found.case_ids else ""
    sentence = (
        f"leakage: {found.leaking} of {found.answers} answers hold something of the form of an identifier{named}; "
        f"{'at most' if is_passed else 'above'} the ceiling of {_percent(ceiling)}{'' if is_passed else ' (veto)'}"
    )
    return SuiteVerdict("leakage", "veto", is_passed, found.share, None, None, None, ceiling, found.answers, sentence)


def _noninferiority(
    candidate: Sequence[ItemResult], champion: Sequence[ItemResult], suite: str, margin: float, *, settings: GateSettings, seed: int
) -> SuiteVerdict:
    found = _compare(candidate, champion, suite, margin, settings=settings, seed=seed, against="champion")
    if found is None:
        return _unmeasured(suite, "not worse", -margin)
    verdict, mine, theirs = found
    difference, is_passed = verdict.difference, verdict.is_noninferior
    power = _power(verdict, settings.confidence)
    weak = "" if verdict.is_powered else f", the margin being only {verdict.margin_in_standard_errors:.1f} standard errors: more items would decide better"
    sentence = (
        f"{suite}: {_points(difference.value)} points against the champion, at worst {_points(difference.lower_bound)} on {difference.n} items; "
        f"{'within' if is_passed else 'beyond'} the {margin * 100:.1f} allowed (an equal model passes with {_percent(power)}{weak})"
    )
    return SuiteVerdict(
        suite, "not worse", is_passed, mine, theirs, difference.value, difference.lower_bound, -margin, difference.n, sentence, difference.low, difference.high, power
    )


def _superiority(candidate: Sequence[ItemResult], base: Sequence[ItemResult], suite: str, *, settings: GateSettings, seed: int) -> SuiteVerdict:
    found = _compare(candidate, base, suite, UNUSED_MARGIN, settings=settings, seed=seed, against="base")
    if found is None:
        return _unmeasured(suite, "superior", 0.0)
    verdict, mine, theirs = found
    difference, is_passed = verdict.difference, verdict.is_superior
    sentence = (
        f"{suite}: the first model is {_points(difference.value)} points against base, at worst {_points(difference.lower_bound)} on {difference.n} items; "
        f"{'superior' if is_passed else 'not shown to be superior'}"
    )
    return SuiteVerdict(
        suite, "superior", is_passed, mine, theirs, difference.value, difference.lower_bound, 0.0, difference.n, sentence, difference.low, difference.high
    )


def _power(verdict: NonInferiority, confidence: float) -> float:
    """Return the chance that a candidate equal to the champion passes: Φ(margin / standard error − z of the confidence)."""
    normal = NormalDist()
    return 1.0 if verdict.difference.standard_error == 0 else normal.cdf(verdict.margin_in_standard_errors - normal.inv_cdf(confidence))


def _compare(
    first: Sequence[ItemResult], second: Sequence[ItemResult], suite: str, margin: float, *, settings: GateSettings, seed: int, against: str
) -> tuple[NonInferiority, float, float] | None:
    mine, theirs = case_scores(headline(first, suite)), case_scores(headline(second, suite))
    if not mine.scores.keys() & theirs.scores.keys():
        return None
    aligned = align_scores(mine.scores, theirs.scores, {**theirs.clusters, **mine.clusters})
    verdict = assess_noninferiority(
        aligned.first_N, aligned.second_N, aligned.clusters, margin=margin, confidence=settings.confidence, draws=DRAWS,
        generator=interval_generator(seed, "gate", against, suite),
    )  # fmt: skip
    return verdict, float(aligned.first_N.mean()), float(aligned.second_N.mean())


def _unmeasured(suite: str, rule: Literal["not worse", "superior", "veto"], limit: float) -> SuiteVerdict:
    sentence = f"{suite}: no scored item to decide by, so it counts against the candidate"
    return SuiteVerdict(suite, rule, False, 0.0, None, None, None, limit, 0, sentence)


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _points(value: float) -> str:
    return f"{value * 100:+.1f}"
