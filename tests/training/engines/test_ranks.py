"""One rank equals two: real processes over gloo, against the same runs in one process."""

import json

import pytest
import torch

ADAPTERS = {"adapters": {"rank": 4}}
MORE = {"updates_per_rollout": 2, "validate_every": 2, "recompute": True, "loss": "gspo"}
JOBS = [
    {"name": "supervised", "loop": "supervised"},
    {"name": "policy", "loop": "policy"},
    {"name": "supervised-adapters", "loop": "supervised", "settings": ADAPTERS | {"patience": 9, "recompute": True}},
    {"name": "policy-more", "loop": "policy", "settings": MORE},
    {"name": "policy-adapters", "loop": "policy", "settings": ADAPTERS},
    {"name": "rewards", "loop": "rewards"},
    {"name": "rewards-pairwise", "loop": "rewards", "settings": {"form": "pairwise", "recompute": True}},
    {"name": "rewards-adapters", "loop": "rewards", "settings": ADAPTERS},
    {"name": "preference", "loop": "preference"},
    {"name": "preference-adapters", "loop": "preference", "settings": ADAPTERS | {"loss": "ipo", "supervised_weight": 0.2}},
]
KILLED = [
    {"name": "supervised-killed", "loop": "supervised", "killed_at": 4},  # at the look after step 4
    {"name": "policy-killed", "loop": "policy", "killed_at": 3},
    {"name": "policy-more-killed", "loop": "policy", "settings": MORE, "killed_at": 3},
    {"name": "rewards-killed", "loop": "rewards", "killed_at": 3},  # in step 4
    {"name": "preference-killed", "loop": "preference", "killed_at": 3},
]
TOLD = [
    {"name": "supervised-told", "loop": "supervised", "told_at": 4},  # in step 3: the look before the first is one too
    {"name": "rewards-told", "loop": "rewards", "told_at": 2},
    {"name": "preference-told", "loop": "preference", "told_at": 2},
]
DIVERGING = [{"name": f"{of}-diverging", "loop": "diverging", "settings": {"of": of}} for of in ("rewards", "preference")]

IN_PARTS = [  # killed and gone on with; test_sharded.py holds the rest of it, and DeepSpeed, which takes long to start
    {"name": "supervised-in-parts", "loop": "supervised", "killed_at": 4},
    {"name": "policy-in-parts", "loop": "policy", "killed_at": 3},
    {"name": "rewards-in-parts", "loop": "rewards", "killed_at": 3},
    {"name": "preference-in-parts", "loop": "preference", "killed_at": 3},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, run_on_two_ranks, run_here):
    """Return the folder of the runs in one process and of those on two ranks."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    jobs = [{**job, "engine": {"strategy": "ddp"}} for job in [*JOBS, *KILLED, *TOLD, *DIVERGING]]
    run_on_two_ranks(two, [*jobs, *({**job, "engine": {"strategy": "fsdp"}} for job in IN_PARTS)])
    run_here(one, JOBS)
    return one, two


@pytest.mark.parametrize("name", [job["name"] for job in JOBS])
def test_two_ranks_end_with_the_weights_of_one(folders, comparison, name):
    one, two = folders
    comparison.assert_near(comparison.weights(two, name), comparison.weights(one, name))


@pytest.mark.parametrize("name", [job["name"] for job in JOBS])
def test_two_ranks_record_what_one_records(folders, comparison, name):
    one, two = (comparison.metrics(folder, name) for folder in folders)
    assert [step for step, _ in two] == [step for step, _ in one]
    for (_, actual), (_, expected) in zip(two, one, strict=True):
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["supervised", "policy", "policy-more", "rewards", "preference"])
def test_a_killed_run_on_two_ranks_goes_on_to_the_same_bits(folders, comparison, name):
    _, two = folders
    expected, actual = comparison.weights(two, name), comparison.weights(two, f"{name}-killed")
    assert all(torch.equal(actual[key], value) for key, value in expected.items())
    assert comparison.metrics(two, f"{name}-killed") == comparison.metrics(two, name)


@pytest.mark.parametrize("name", ["supervised", "rewards", "preference"])
def test_one_rank_told_to_stop_stops_all_and_the_run_goes_on_to_the_same_bits(folders, comparison, name):
    _, two = folders
    expected, actual = comparison.weights(two, name), comparison.weights(two, f"{name}-told")
    assert all(torch.equal(actual[key], value) for key, value in expected.items())


@pytest.mark.parametrize("of", ["rewards", "preference"])
def test_a_run_that_diverges_stops_on_both_ranks_and_keeps_the_evidence(folders, of):
    evidence = json.loads((folders[1] / f"{of}-diverging" / "checkpoints" / "diverged.json").read_text())
    assert "loss" in evidence["reason"] and evidence["last_good_step"] == 0 and evidence["batch"]


@pytest.mark.parametrize("name", ["supervised", "policy", "rewards", "preference"])
def test_weights_in_parts_end_as_those_of_one_rank(folders, comparison, name):
    one, two = folders
    comparison.assert_near(comparison.weights(two, f"{name}-in-parts"), comparison.weights(one, name))
    for (step, actual), (wanted_step, wanted) in zip(comparison.metrics(two, f"{name}-in-parts"), comparison.metrics(one, name), strict=True):
        assert (step, actual) == (wanted_step, pytest.approx(wanted, rel=1e-4, abs=1e-5))
