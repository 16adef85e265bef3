"""Plans: exact shares, whole epochs, easy before hard, and independence of where a run stopped."""

from collections import Counter

import pytest

from components.errors import DataError, SettingsError
from components.training.supervised.sampling import in_curriculum_order, mixture_plan, shuffled_plan, token_plan

GROUPS = ["a"] * 50 + ["b"] * 10 + ["c"] * 5


def test_every_epoch_shows_every_sample_once():
    plan = shuffled_plan(10, steps=5, batch=4, seed=1)
    stream = [index for batch in plan for index in batch]
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:]


def test_mixture_meets_its_ratios_in_every_batch():
    plan = mixture_plan(GROUPS, ratios={"a": 0.5, "b": 0.3, "c": 0.2}, steps=7, batch=10, seed=1)
    for batch in plan:
        assert Counter(GROUPS[index] for index in batch) == {"a": 5, "b": 3, "c": 2}


def test_small_groups_repeat_evenly():
    plan = mixture_plan(GROUPS, ratios={"a": 0.5, "c": 0.5}, steps=10, batch=10, seed=1)
    counts = Counter(index for batch in plan for index in batch if GROUPS[index] == "c")
    assert set(counts.values()) == {10}  # 50 places, 5 samples


def test_a_longer_run_begins_as_a_shorter_one():
    short, long = (mixture_plan(GROUPS, ratios={"a": 0.6, "b": 0.4}, steps=steps, batch=8, seed=2) for steps in (3, 3))
    assert short == long
    assert mixture_plan(GROUPS, ratios={"a": 0.6, "b": 0.4}, steps=3, batch=8, seed=3) != short


def test_curriculum_keeps_the_samples_and_rises():
    levels = [1 + index % 3 for index in range(60)]
    groups = ["a"] * 60
    plan = shuffled_plan(60, steps=12, batch=5, seed=4)
    ordered = in_curriculum_order(plan, levels=levels, groups=groups, overlap=1.5, seed=4)
    assert Counter(i for batch in ordered for i in batch) == Counter(i for batch in plan for i in batch)
    stream = [levels[index] for batch in ordered for index in batch]
    thirds = [sum(part) / 20 for part in (stream[:20], stream[20:40], stream[40:])]
    assert thirds[0] + 0.5 < thirds[1] < thirds[2] - 0.3


def test_without_overlap_one_level_follows_the_other_and_a_wide_one_mixes_them():
    levels = [1 + index % 3 for index in range(60)]
    plan = shuffled_plan(60, steps=12, batch=5, seed=4)
    streams = {
        overlap: [levels[index] for batch in in_curriculum_order(plan, levels=levels, groups=["a"] * 60, overlap=overlap, seed=4) for index in batch]
        for overlap in (0.0, 4.0)
    }
    assert streams[0.0] == sorted(levels)
    assert set(streams[4.0][:30]) == set(streams[4.0][30:]) == {1, 2, 3}
    assert sum(streams[4.0][:30]) < sum(streams[4.0][30:])


def test_curriculum_keeps_each_batch_s_shares():
    plan = mixture_plan(GROUPS, ratios={"a": 0.5, "b": 0.5}, steps=6, batch=8, seed=1)
    ordered = in_curriculum_order(plan, levels=[1 + index % 3 for index in range(65)], groups=GROUPS, overlap=1.5, seed=1)
    for batch in ordered:
        assert Counter(GROUPS[index] for index in batch) == {"a": 4, "b": 4}


def test_token_batches_are_full_but_never_over():
    lengths = [3, 9, 4, 6, 2, 8]
    plan = token_plan(lengths, steps=20, batch_tokens=12, seed=1)
    assert len(plan) == 20
    sizes = [sum(lengths[index] for index in batch) for batch in plan]
    assert max(sizes) <= 12
    for batch, size, after in zip(plan, sizes, plan[1:], strict=False):
        assert batch and size + lengths[after[0]] > 12


def test_a_share_without_samples_is_named():
    with pytest.raises(DataError, match="'d'"):
        mixture_plan(GROUPS, ratios={"a": 0.5, "d": 0.5}, steps=1, batch=4, seed=1)
    with pytest.raises(SettingsError, match="negative"):
        mixture_plan(GROUPS, ratios={"a": 1.5, "b": -0.5}, steps=1, batch=4, seed=1)
