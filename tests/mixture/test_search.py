"""The ratio search: the simplex, resuming, and whether the Gaussian process is worth having."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import SettingsError, StorageError
from components.mixture.search import Trial, search_ratios
from components.mixture.simplex import cube_from_ratios, random_ratios, ratios_from_cube

GROUPS = ("analysis", "comprehension", "generation", "knowledge")
TARGET = (0.15, 0.2, 0.1, 0.55)


def bowl(ratios: Mapping[str, float], number: int = 0) -> float:
    """A smooth score with its only maximum, 1, at TARGET."""
    return 1.0 - sum((ratios[group] - best) ** 2 for group, best in zip(GROUPS, TARGET, strict=True))


class Interrupted(Exception):
    """Stands for a kill in the middle of a trial."""


def search(folder: Path, objective=bowl, *, seed: int = 3, start_up: int = 5, gp: int = 5) -> list[Trial]:
    return search_ratios(objective, GROUPS, floor=0.03, start_up_trials=start_up, gp_trials=gp, seed=seed, storage=folder / "study.db")


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_every_point_of_the_cube_is_a_floored_mix(numbers):
    ratios = ratios_from_cube(numbers, GROUPS, floor=0.05)
    assert sum(ratios.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(ratios.values()) >= 0.05 - 1e-12


def test_stick_is_cut_as_derived_by_hand():
    # three groups, no floor: first takes 1 − (1 − .75)^(1/2) = .5; second half of the rest: 1 − (1 − .5)^1 = .5 of .5
    assert ratios_from_cube([0.75, 0.5], ("a", "b", "c"), floor=0.0) == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})
    # floor .1: .1 + .7 · share
    assert ratios_from_cube([0.75, 0.5], ("a", "b", "c"), floor=0.1) == pytest.approx({"a": 0.45, "b": 0.275, "c": 0.275})


def test_uniform_numbers_give_uniform_mixes():
    # On a uniform simplex of k groups every share has mean 1/k and variance (k−1)/(k²(k+1)) = 3/80 for k = 4
    cube = np.random.default_rng(1).random((20_000, 3))
    shares = np.array([list(ratios_from_cube(list(row), GROUPS, floor=0.0).values()) for row in cube])
    np.testing.assert_allclose(shares.mean(0), 0.25, atol=0.006)
    np.testing.assert_allclose(shares.var(0), 3 / 80, atol=0.002)


def test_cube_and_simplex_are_inverse():
    for row in random_ratios(GROUPS, floor=0.03, count=20, generator=np.random.default_rng(0)):
        ratios = dict(zip(GROUPS, row, strict=True))
        assert ratios_from_cube(cube_from_ratios(ratios, GROUPS, floor=0.03), GROUPS, floor=0.03) == pytest.approx(ratios)


def test_floor_that_leaves_nothing_is_refused():
    with pytest.raises(SettingsError, match=r"mixture\.floor"):
        ratios_from_cube([0.5], ("a", "b"), floor=0.5)


@pytest.mark.parametrize("killed_in", [2, 5, 8])
def test_resumed_search_equals_undisturbed(tmp_path, killed_in):
    undisturbed = search(tmp_path / "whole")

    def dies_once(ratios: Mapping[str, float], number: int) -> float:
        if number == killed_in:
            raise Interrupted
        return bowl(ratios)

    with pytest.raises(Interrupted):
        search(tmp_path / "resumed", dies_once)
    seen: list[int] = []
    resumed = search(tmp_path / "resumed", lambda ratios, number: (seen.append(number), bowl(ratios))[1])
    assert resumed == undisturbed  # exact: same numbers, ratios and scores
    assert seen == list(range(killed_in, 10))  # finished trials are not run again, the orphaned one is


def test_search_respects_floor_and_counts(tmp_path):
    trials = search(tmp_path)
    assert [trial.kind for trial in trials] == ["random"] * 5 + ["gp"] * 5
    for trial in trials:
        assert sum(trial.ratios.values()) == pytest.approx(1.0)
        assert min(trial.ratios.values()) >= 0.03 - 1e-9


def test_gaussian_process_beats_random_on_average(tmp_path):
    led = [max(t.score for t in search(tmp_path / f"gp{seed}", seed=seed)) for seed in range(4)]
    random = [max(t.score for t in search(tmp_path / f"random{seed}", seed=seed, start_up=10, gp=0)) for seed in range(4)]
    # of the distance to the optimum that ten random points leave, five led trials close at least half on average
    assert 1 - np.mean(led) < 0.5 * (1 - np.mean(random))


def test_file_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(StorageError, match=r"study\.db"):
        search(tmp_path)
