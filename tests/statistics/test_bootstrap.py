"""The clustered bootstrap: closed forms, invariances, and whether its intervals hold as often as they say."""

import numpy as np
import pytest

from components.errors import DataError
from components.statistics.bootstrap import bootstrap_means, cluster_totals, clustered_standard_error, mean_interval


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_mean_weighs_items_not_clusters():
    # cluster a: 1, 1, 1; cluster b: 0. Over items 3/4, over clusters it would be 1/2.
    assert mean_interval([1, 1, 1, 0], ["a", "a", "a", "b"], generator=generator()).value == 0.75


def test_standard_error_matches_the_formula_by_hand():
    # clusters (1, 1), (0, 0), (1, 0): mean .5; residual sums 1, −1, 0. sqrt(3/2 · 2) / 6 = 1.7320508/6
    totals = cluster_totals([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "c"])
    assert clustered_standard_error(totals) == pytest.approx(0.28867513)


def test_standard_error_of_single_item_clusters_is_the_textbook_one():
    values = generator(1).random(50)
    totals = cluster_totals(values, [str(i) for i in range(50)])
    assert clustered_standard_error(totals) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_bootstrap_spread_of_single_item_clusters_is_the_closed_form():
    # the bootstrap variance of a mean is exactly Σ(x−m)²/n²; 20 000 draws know its root to about 0.5 %
    values = generator(2).random(40)
    means = bootstrap_means(cluster_totals(values, [str(i) for i in range(40)]), draws=20_000, generator=generator(3))
    assert means.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=0.001)


def test_repeating_every_item_in_its_cluster_changes_nothing():
    values, clusters = generator(4).random(30), [f"c{i % 10}" for i in range(30)]
    once = mean_interval(values, clusters, generator=generator(5))
    five_times = mean_interval(np.repeat(values, 5), list(np.repeat(clusters, 5)), generator=generator(5))
    assert (once.low, once.high) == pytest.approx((five_times.low, five_times.high))
    assert five_times.n == 150 and once.clusters == five_times.clusters == 10


def test_order_of_items_does_not_matter():
    values, clusters = generator(6).random(60), [f"c{i % 7}" for i in range(60)]
    order = generator(7).permutation(60)
    shuffled = mean_interval(values[order], [clusters[i] for i in order], generator=generator(8))
    original = mean_interval(values, clusters, generator=generator(8))
    assert (original.low, original.high) == pytest.approx((shuffled.low, shuffled.high))


def test_interval_holds_about_as_often_as_it_says():
    # 60 clusters of 5 items that share a cluster effect; true mean 0.5. 95 % within 4 binomial standard errors of 400
    # trials (±.044); an item-wise bootstrap of the same data would cover about 75 %.
    covered = naive = 0
    for trial in range(400):
        rng = generator(trial)
        values = 0.5 + np.repeat(rng.normal(0, 0.2, 60), 5) + rng.normal(0, 0.2, 300)
        clusters = np.repeat([f"c{i}" for i in range(60)], 5)
        interval = mean_interval(values, list(clusters), draws=400, generator=rng)
        itemwise = mean_interval(values, [str(i) for i in range(300)], draws=400, generator=rng)
        covered += interval.low <= 0.5 <= interval.high
        naive += itemwise.low <= 0.5 <= itemwise.high
    assert covered / 400 == pytest.approx(0.95, abs=0.044)
    assert naive / 400 < 0.85


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="not a finite"):
        cluster_totals([1.0, float("nan")], ["a", "b"])
    with pytest.raises(DataError, match="no items"):
        cluster_totals([], [])
