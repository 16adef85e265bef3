"""Fusion and weights, by hand."""

import numpy as np
import pytest

from components.retrieval.fusion import fuse_rankings, passage_weights, top_ranking


def test_fused_score_is_the_sum_of_reciprocal_ranks():
    # item 7: rank 1 and 2 with k=60 -> 1/61 + 1/62; item 3: rank 2 only -> 1/62
    fused = fuse_rankings([[7, 3], [5, 7]], k=60)
    assert fused == {7: pytest.approx(1 / 61 + 1 / 62), 3: pytest.approx(1 / 62), 5: pytest.approx(1 / 61)}


def test_a_passage_loses_half_its_weight_in_a_half_life_and_unknown_years_count_as_oldest():
    weights = passage_weights(["A", "B", "A"], [2020, 2010, None], authority_weights={"A": 1.0, "B": 0.5}, half_life_years=10.0)
    assert weights.tolist() == [1.0, 0.25, 0.5]


def test_ranking_leaves_out_zero_scores_and_breaks_ties_by_position():
    assert top_ranking(np.array([0.0, 2.0, 5.0, 2.0, -1.0]), count=3) == [2, 1, 3]
