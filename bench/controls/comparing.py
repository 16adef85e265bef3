"""The comparisons, and their numbers: paired differences of each seed, their mean, and its t interval over seeds.

Two intervals, of two kinds of chance: a seed's says how far its difference would move with other test items (paired
bootstrap over clusters, `components/statistics`); the mean's how far it would move with other seeds (Student's t with
seeds − 1 degrees of freedom, which three seeds make wide).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.metrics import interval_generator
from components.evaluation.report.stored_controls import ControlRow, SeedDifference
from components.settings.settings import Settings
from components.statistics.paired import align_scores, paired_difference

ModelScores = Mapping[str, Mapping[str, float]]  # {"scores": {case: score}, "clusters": {case: cluster}}


@dataclass(frozen=True)
class Comparison:
    """A model of the recipe, a control, the suite both are scored on, and the control in words."""

    model: str
    control: str
    suite: str
    words: str


COMPARISONS = (
    Comparison("grpo_reasoning", "supervised", "verified", "supervised on the same prompts, equal compute"),
    Comparison("grpo_reasoning", "supervised_validated", "verified", "the same, stopped at its validation optimum"),
    Comparison("ift", "ift_uniform", "ability", "uniform ratios"),
    Comparison("ift", "ift_random", "ability", "random ratios"),
    *(
        Comparison("sft", f"sft_{way}", suite, f"tuned on {words} candidate")
        for way, words in (("first", "the first"), ("random", "a random"))
        for suite in ("grounded", "preference")
    ),
    Comparison("base", "base_without_triples", "probes", "pre-trained without the realised triples"),
)


def compare_all(seeds: Sequence[Settings], scores: Callable[[Settings, str, str], ModelScores]) -> list[ControlRow]:
    """Return one row a comparison.

    Args:
        seeds: the settings of each seed.
        scores: (settings, model, suite) → that model's scores at that seed.
    """
    rows = []
    for comparison in COMPARISONS:
        found = [
            seed_difference(comparison, settings, scores(settings, comparison.model, comparison.suite), scores(settings, comparison.control, comparison.suite))
            for settings in seeds
        ]
        mean, low, high = mean_over_seeds([item.difference for item in found], confidence=seeds[0].evaluate.confidence)
        rows.append(
            ControlRow(model=comparison.model, control=comparison.words, suite=comparison.suite, seeds=tuple(found), mean=mean, low=low, high=high)
        )
    return rows


def seed_difference(comparison: Comparison, settings: Settings, model: ModelScores, control: ModelScores) -> SeedDifference:
    """Return model − control on the cases both were scored on."""
    aligned = align_scores(model["scores"], control["scores"], {**control["clusters"], **model["clusters"]})
    difference = paired_difference(
        aligned.first_N, aligned.second_N, aligned.clusters, confidence=settings.evaluate.confidence, draws=settings.evaluate.bootstrap_draws,
        generator=interval_generator(settings.run.seed, "control", comparison.model, comparison.control, comparison.suite),
    )  # fmt: skip
    return SeedDifference(
        seed=settings.run.seed, score=float(aligned.first_N.mean()), control_score=float(aligned.second_N.mean()),
        difference=difference.value, low=difference.low, high=difference.high, n=difference.n, clusters=difference.clusters,
    )  # fmt: skip


def mean_over_seeds(differences: Sequence[float], *, confidence: float) -> tuple[float, float | None, float | None]:
    """Return the mean and its two-sided t interval: mean ± t · s / √seeds. One seed has no interval: (mean, None, None)."""
    from scipy.stats import t

    mean, count = float(np.mean(differences)), len(differences)
    if count < 2:
        return mean, None, None
    half = float(t.ppf((1 + confidence) / 2, count - 1) * np.std(differences, ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half
