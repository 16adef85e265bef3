"""The mixture stage around a cheap analytic tuning run: choice, comparison, going on after a kill."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from components.conversations import Message, Sample
from components.mixture.mixture_stage import search_and_compare
from components.mixture.simplex import random_ratios
from components.mixture.surrogate import Surrogate
from components.mixture.trial import overall_score, trial_samples
from components.recorder import Recorder, read_record
from components.settings.settings import load_settings
from components.stage import StageContext
from components.storage.artifact_store import ArtifactStore
from components.storage.checkpoints import CheckpointFolder

GROUPS = ("analysis", "comprehension", "generation", "knowledge")
ROOT = Path(__file__).parents[2]


def group_scores(ratios: Mapping[str, float], seed: int) -> dict[str, float]:
    """Diminishing returns: every group gains by its square root, knowledge three times as much, plus a little seed noise."""
    noise = np.random.default_rng(seed).normal(0, 0.002)
    return {group: (3.0 if group == "knowledge" else 1.0) * ratios[group] ** 0.5 / 3 + noise for group in GROUPS}


@pytest.fixture
def context(tmp_path):
    settings = load_settings(ROOT / "params.yaml")
    return StageContext(
        "mixture", tmp_path, settings, ("run", "mixture"), (), ("artifacts/mixture",), Recorder(tmp_path / "record"),
        CheckpointFolder(tmp_path / "checkpoints", key="k"), ArtifactStore(tmp_path / "store"),
    )  # fmt: skip


def test_chosen_mix_beats_the_uniform_one_on_fresh_seeds(context):
    settings = context.section("mixture").model_copy(update={"measure": "verifier"})
    found = search_and_compare(group_scores, GROUPS, settings=settings, seed=20, context=context)
    assert sum(found["ratios"].values()) == pytest.approx(1.0)
    assert np.mean(found["comparison"]["chosen"]) > np.mean(found["comparison"]["uniform"])
    # optimum of a + b + c + 3d under sqrt returns: shares proportional to the squared weights, 9/12 for knowledge
    assert max(found["ratios"], key=found["ratios"].get) == "knowledge"
    assert found["importance"]["knowledge"] == max(found["importance"].values())
    assert [row["kind"] for row in found["trials"]] == ["random"] * 5 + ["gp"] * 5 + ["uniform"]


def test_progress_counts_every_run_once(context):
    settings = context.section("mixture")
    search_and_compare(group_scores, GROUPS, settings=settings, seed=20, context=context)
    last = [entry for entry in read_record(context.recorder.folder) if entry["kind"] == "progress"][-1]
    assert last["done"] == last["total"] == 5 + 5 + 1 + 2 * settings.comparison_seeds


def test_surrogate_shrinks_a_lucky_score_towards_its_neighbours():
    rng = np.random.default_rng(5)
    mixes = [dict(zip(GROUPS, row, strict=True)) for row in random_ratios(GROUPS, floor=0.03, count=30, generator=rng)]
    truth = np.array([mix["knowledge"] for mix in mixes])
    noisy = truth + rng.normal(0, 0.08, 30)
    means = Surrogate(mixes, noisy.tolist(), GROUPS).mean(mixes)
    assert np.abs(means - truth).mean() < 0.8 * np.abs(noisy - truth).mean()


def test_importance_of_an_additive_score_is_known():
    # f = 2a + b on the simplex: a and b have correlation −1/3 there, so neither share is 4/5 and 1/5 as for free inputs;
    # E[f | a] = 2a + (1−a)/3 → Var = (5/3)² v; E[f | b] = b + 2(1−b)/3 → (1/3)² v; c and d: f | c = 3(1−c)/3 → 1 v
    # with v = Var(a), Var(f) = 4v + v + 4·(−1/3)v = (11/3) v. Shares: .758, .030, .273, .273
    rng = np.random.default_rng(6)
    mixes = [dict(zip(GROUPS, row, strict=True)) for row in random_ratios(GROUPS, floor=0.0, count=40, generator=rng)]
    scores = [2 * mix["analysis"] + mix["comprehension"] for mix in mixes]
    importance = Surrogate(mixes, scores, GROUPS).importance(floor=0.0, generator=rng)
    assert list(importance.values()) == pytest.approx([0.758, 0.030, 0.273, 0.273], abs=0.05)


def test_equal_scores_give_no_importance():
    mixes = [dict(zip(GROUPS, row, strict=True)) for row in random_ratios(GROUPS, floor=0.0, count=5, generator=np.random.default_rng(1))]
    assert set(Surrogate(mixes, [0.5] * 5, GROUPS).importance(floor=0.0, generator=np.random.default_rng(1)).values()) == {0.0}


def test_a_trial_encodes_only_what_its_ratios_use_up():
    message = (Message(role="user", content="q"), Message(role="assistant", content="a"))
    samples = {g: [Sample(id=f"{g}{n}", task="t", group=g, messages=message) for n in range(100)] for g in ("a", "b")}
    drawn = trial_samples(samples, {"a": 0.25, "b": 0.75}, total=40)
    assert [sum(s.group == g for s in drawn) for g in ("a", "b")] == [11, 31]  # 10 + 1 and 30 + 1


def test_weights_default_to_one():
    assert overall_score({"a": 1.0, "b": 0.0}, {}, measure="verifier") == 0.5
    assert overall_score({"a": 1.0, "b": 0.0}, {"a": 3.0}, measure="verifier") == 0.75


def test_likelihoods_are_averaged_geometrically():
    # sqrt(.4 · .1) = .2; weighted 1 : 2, the cube root of .8 · .1 · .1 = .2
    assert overall_score({"a": 0.4, "b": 0.1}, {}, measure="likelihood") == pytest.approx(0.2)
    assert overall_score({"a": 0.8, "b": 0.1}, {"b": 2.0}, measure="likelihood") == pytest.approx(0.2)
