"""Paired differences and non-inferiority: hand-derived cases, coverage, and what the margin rule promises."""

import numpy as np
import pytest

from components.errors import DataError, SettingsError
from components.statistics.noninferiority import assess_noninferiority
from components.statistics.paired import align_scores, paired_difference


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_alignment_drops_what_one_model_lacks_and_counts_it():
    aligned = align_scores({"a": 1.0, "b": None, "c": 0.0}, {"c": 1.0, "a": 0.5, "d": 1.0}, {"a": "x", "c": "y"})
    assert aligned.ids == ("a", "c") and aligned.clusters == ("x", "y")
    assert list(aligned.first_N - aligned.second_N) == [0.5, -1.0]
    assert aligned.dropped == 2  # b unscored, d unasked


def test_models_without_a_common_item_cannot_be_compared():
    with pytest.raises(DataError, match="no scored item"):
        align_scores({"a": 1.0}, {"b": 1.0}, {"a": "x", "b": "y"})


def test_pairing_removes_what_the_items_share():
    # every item gains exactly .1 whatever its difficulty: no spread is left, and the interval is the point .1
    easy_to_hard = generator(1).random(100)
    difference = paired_difference(easy_to_hard + 0.1, easy_to_hard, [str(i) for i in range(100)], generator=generator())
    assert (difference.low, difference.value, difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference.standard_error == pytest.approx(0.0, abs=1e-12) and difference.is_shown


def test_swapping_the_models_mirrors_the_interval():
    rng = generator(2)
    first, second, clusters = rng.random(80), rng.random(80), [f"c{i % 20}" for i in range(80)]
    there = paired_difference(first, second, clusters, generator=generator(3))
    back = paired_difference(second, first, clusters, generator=generator(3))
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_one_sided_bound_lies_inside_the_two_sided_interval():
    rng = generator(4)
    difference = paired_difference(rng.random(200), rng.random(200), [str(i) for i in range(200)], draws=5000, generator=rng)
    # normal theory: 1.645 against 1.960 standard errors below the mean
    assert difference.value - difference.lower_bound == pytest.approx(1.645 * difference.standard_error, rel=0.05)
    assert difference.value - difference.low == pytest.approx(1.960 * difference.standard_error, rel=0.05)


def test_candidate_worse_by_the_margin_passes_one_time_in_twenty():
    # true difference = −margin: the error rate of the test, 5 % ± 4 binomial standard errors of 400 trials (.044)
    passed = 0
    for trial in range(400):
        rng = generator(trial)
        clusters = list(np.repeat([f"c{i}" for i in range(60)], 4))
        differences = -0.05 + np.repeat(rng.normal(0, 0.1, 60), 4) + rng.normal(0, 0.3, 240)
        passed += assess_noninferiority(differences, np.zeros(240), clusters, margin=0.05, draws=400, generator=rng).is_noninferior
    assert passed / 400 == pytest.approx(0.05, abs=0.044)


def test_equal_candidate_passes_where_the_margin_is_four_standard_errors():
    passed = powered = 0
    for trial in range(200):
        rng = generator(trial)
        differences = rng.normal(0, 0.05 * np.sqrt(100) / 4.2, 100)  # standard error .05/4.2
        verdict = assess_noninferiority(differences, np.zeros(100), [str(i) for i in range(100)], margin=0.05, draws=400, generator=rng)
        passed += verdict.is_noninferior
        powered += verdict.is_powered
    assert passed / 200 >= 0.97  # Φ(4.2 − 1.645) = .995
    assert powered / 200 > 0.6  # 4.2 is just above the rule's 4


def test_margin_is_measured_in_standard_errors():
    # differences ±.2 in 25 single clusters: standard error = .2 · sqrt(25/24) / 5 = .040825 (mean not quite 0: 13 against 12)
    differences = np.array([0.2] * 13 + [-0.2] * 12)
    verdict = assess_noninferiority(differences, np.zeros(25), [str(i) for i in range(25)], margin=0.1, generator=generator())
    assert verdict.margin_in_standard_errors == pytest.approx(0.1 / 0.040792, rel=1e-3)
    assert not verdict.is_powered


def test_margin_of_nothing_is_refused():
    with pytest.raises(SettingsError, match=r"gate\.margins"):
        assess_noninferiority([1.0], [1.0], ["a"], margin=0.0, generator=generator())
