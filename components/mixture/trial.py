"""One trial: a short tuning run with given ratios from the shared start, measured on the ability suites of validation.

Every trial starts from the same weights, meets the samples of a group in the same order and is tuned with the same
seed, so that trials differ by their ratios alone (common random numbers; Law & Kelton 2000, §11.2).
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.cases.case import Case
from components.conversations import Sample
from components.errors import DataError
from components.lineage import stable_fraction
from components.mixture.measures import MEASURES
from components.settings.training import SupervisedSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class TrialSetting:
    """What all trials share."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    samples: Mapping[str, Sequence[Sample]]  # by group, in a fixed order
    cases: Sequence[Case]
    tuning: SupervisedSettings
    measure: str  # key of MEASURES


def load_setting(folder: Path, samples: Sequence[Sample], cases: Sequence[Case], *, tuning: SupervisedSettings, count: int, measure: str) -> TrialSetting:
    """Load the shared start and draw the validation cases that trials are scored on.

    Args:
        folder: of the start model.
        samples: instruction samples of every group.
        cases: validation cases of any suite.
        count: cases to score on, shared out evenly over the groups.
        measure: key of `components/mixture/measures.py`.
    Raises:
        DataError: a group of the samples has no validation case of the ability suite.
    """
    from components.modeling.models import load_model
    from components.modeling.tokenizers import load_tokenizer

    by_group: dict[str, list[Sample]] = {}
    for sample in samples:
        by_group.setdefault(sample.group, []).append(sample)
    chosen = validation_cases(cases, sorted(by_group), count=count)
    ordered = {group: sorted(members, key=lambda sample: stable_fraction("mixture", sample.id)) for group, members in sorted(by_group.items())}
    return TrialSetting(load_model(folder), load_tokenizer(folder), ordered, chosen, tuning, measure)


def validation_cases(cases: Sequence[Case], groups: Sequence[str], *, count: int) -> list[Case]:
    """Return `count` ability cases, as many of each group, chosen by their ids alone."""
    chosen: list[Case] = []
    for group in groups:
        members = sorted((case for case in cases if case.suite == "ability" and case.group == group), key=lambda case: stable_fraction("mixture", case.id))
        if not members:
            raise DataError(f"no validation case of the ability suite in group {group!r}; raise holdout.validation_cases_per_suite")
        chosen += members[: max(1, count // len(groups))]
    return chosen


def run_trial(setting: TrialSetting, ratios: Mapping[str, float], *, seed: int) -> dict[str, float]:
    """Tune a copy of the start with the ratios and return each group's measure on its validation cases.

    Args:
        ratios: share of each group in every batch.
        seed: of the order within batches; the same for all trials of a search.
    """
    from components.training.supervised.tuning import tune

    model = copy.deepcopy(setting.model)
    samples = trial_samples(setting.samples, ratios, total=setting.tuning.steps * setting.tuning.batch_samples)
    tune(model, setting.tokenizer, samples, settings=setting.tuning, seed=seed, ratios=ratios)
    return MEASURES[setting.measure](model, setting.tokenizer, setting.cases, setting.tuning)


def trial_samples(samples: Mapping[str, Sequence[Sample]], ratios: Mapping[str, float], *, total: int) -> list[Sample]:
    """Return the first samples of each group that `total` samples at these ratios can use up; no more need be encoded."""
    return [sample for group in sorted(ratios) for sample in samples[group][: math.ceil(total * ratios[group]) + 1]]


def overall_score(scores: Mapping[str, float], weights: Mapping[str, float], *, measure: str) -> float:
    """Return the weighted mean of the groups' scores; a group without a weight counts 1.

    Likelihoods are averaged geometrically, exp(−weighted mean loss), so that one easy group cannot pay for the others;
    verifier scores, which may be 0, arithmetically.
    """
    total = sum(weights.get(group, 1.0) for group in scores)
    if measure == "likelihood":
        return math.exp(sum(weights.get(group, 1.0) * math.log(score) for group, score in scores.items()) / total)
    return sum(weights.get(group, 1.0) * score for group, score in scores.items()) / total
