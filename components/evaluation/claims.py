"""Does each stage earn its place? Paired differences against the model before it, on the suite fixed in params.yaml.

Kinds of claim:
  gain     the interval of (model − model before) on the stage's primary suite lies above 0
  chance   the first model has none before it: its probes against what guessing among the options gives
  kept     another suite fell by at most a margin: the one-sided lower bound lies above −margin
  overall  the last model against the first, on every suite's cases
A claim whose interval includes 0 reads "not shown"; it is reported all the same.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.cases.case import Case
from components.evaluation.metrics import Results, interval_generator
from components.evaluation.results import CaseScores, case_scores, headline
from components.evaluation.suites import SUITE_MODES
from components.statistics.noninferiority import assess_noninferiority
from components.statistics.paired import AlignedScores, align_scores, paired_difference


class Claim(BaseModel):
    """One statement about two models and one suite, with what it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gain", "chance", "kept", "overall"]
    model: str
    against: str
    suite: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    n: int
    standard_error: float
    margin: float | None = None
    is_shown: bool

    @property
    def word(self) -> str:
        """What the tables print."""
        return "shown" if self.is_shown else "not shown"


def stage_claims(
    results: Results,
    cases: Mapping[str, Case],
    *,
    primary: Mapping[str, str],
    kept: Mapping[str, Mapping[str, float]],
    seed: int,
    confidence: float,
    draws: int,
) -> list[Claim]:
    """Return the claims of every model of a run, in the order the models are made from each other.

    Args:
        results: {model: rows}, in that order.
        cases: the test cases by id; tells what guessing gives on the probes.
        primary: model → the suite its stage must earn its place on.
        kept: model → {suite: margin} that its stage may lose against the model before.
        confidence: of the two-sided interval; one-sided for `kept`.
        draws: bootstrap resamples.
    """
    settings: dict[str, Any] = {"seed": seed, "confidence": confidence, "draws": draws}
    models = list(results)
    claims = []
    for position, model in enumerate(models):
        if model in primary and position == 0:
            claims.append(_chance_claim(model, results, primary[model], cases, **settings))
        elif model in primary:
            claims.append(_gain_claim("gain", model, models[position - 1], results, primary[model], **settings))
        for suite, margin in (kept.get(model, {}) if position else {}).items():
            claims.append(_kept_claim(model, models[position - 1], results, suite, margin, **settings))
    if len(models) > 1:
        claims += [_gain_claim("overall", models[-1], models[0], results, suite, **settings) for suite in SUITE_MODES]
    return [claim for claim in claims if claim is not None]


def _gain_claim(
    kind: Literal["gain", "overall"], model: str, against: str, results: Results, suite: str, *, seed: int, confidence: float, draws: int
) -> Claim | None:
    after, before = _scores(results, model, suite), _scores(results, against, suite)
    if not after.scores.keys() & before.scores.keys():
        return None
    return _claim(kind, model, against, suite, _aligned(after, before), seed=seed, confidence=confidence, draws=draws)


def _chance_claim(
    model: str, results: Results, suite: str, cases: Mapping[str, Case], *, seed: int, confidence: float, draws: int
) -> Claim | None:
    after = _scores(results, model, suite)
    if not after.scores:
        return None
    guesses = {case: 1.0 / len(cases[case].options) if cases[case].options else 0.0 for case in after.scores}
    aligned = _aligned(after, CaseScores(guesses, after.clusters))
    return _claim("chance", model, "guessing", suite, aligned, seed=seed, confidence=confidence, draws=draws)


def _claim(
    kind: Literal["gain", "overall", "chance"], model: str, against: str, suite: str, aligned: AlignedScores, *, seed: int, confidence: float, draws: int
) -> Claim:
    difference = paired_difference(
        aligned.first_N, aligned.second_N, aligned.clusters,
        confidence=confidence, draws=draws, generator=interval_generator(seed, kind, model, against, suite),
    )  # fmt: skip
    return Claim(
        kind=kind, model=model, against=against, suite=suite, before=float(aligned.second_N.mean()), after=float(aligned.first_N.mean()),
        difference=difference.value, low=difference.low, high=difference.high, n=difference.n,
        standard_error=difference.standard_error, is_shown=difference.is_shown,
    )  # fmt: skip


def _kept_claim(
    model: str, against: str, results: Results, suite: str, margin: float, *, seed: int, confidence: float, draws: int
) -> Claim | None:
    after, before = _scores(results, model, suite), _scores(results, against, suite)
    if not after.scores.keys() & before.scores.keys():
        return None
    aligned = _aligned(after, before)
    verdict = assess_noninferiority(
        aligned.first_N, aligned.second_N, aligned.clusters,
        margin=margin, confidence=confidence, draws=draws, generator=interval_generator(seed, "kept", model, against, suite),
    )  # fmt: skip
    return Claim(
        kind="kept", model=model, against=against, suite=suite, before=float(aligned.second_N.mean()), after=float(aligned.first_N.mean()),
        difference=verdict.difference.value, low=verdict.difference.low, high=verdict.difference.high, n=verdict.difference.n,
        standard_error=verdict.difference.standard_error, margin=margin, is_shown=verdict.is_noninferior,
    )  # fmt: skip


def _scores(results: Results, model: str, suite: str) -> CaseScores:
    return case_scores(headline(results.get(model, ()), suite))


def _aligned(first: CaseScores, second: CaseScores) -> AlignedScores:
    return align_scores(first.scores, second.scores, {**second.clusters, **first.clusters})
