"""Weights and moments in parts on two real processes: FSDP2 and ZeRO-1, 2 and 3 train, resume and export as one process does."""

import pytest
import torch

pytestmark = pytest.mark.slow  # DeepSpeed alone starts in half a minute

ENGINES = {
    "fsdp": {"strategy": "fsdp"},
    "zero1": {"strategy": "deepspeed", "zero_stage": 1},
    "zero2": {"strategy": "deepspeed", "zero_stage": 2},
    "zero3": {"strategy": "deepspeed", "zero_stage": 3},
}
LOOPS = ("supervised", "policy")
JOBS = [
    *({"name": loop, "loop": loop} for loop in LOOPS),
    {"name": "supervised-recompute", "loop": "supervised", "settings": {"recompute": True, "patience": 9}},
    {"name": "policy-more", "loop": "policy", "settings": {"updates_per_rollout": 2, "validate_every": 2, "recompute": True}},
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory, run_here):
    folder = tmp_path_factory.mktemp("one")
    run_here(folder, JOBS)
    return folder


@pytest.fixture(scope="module", params=list(ENGINES))
def folder(request, tmp_path_factory, run_on_two_ranks):
    """Return the folder of an engine's runs; that of `export` has compared what it wrote with the live weights."""
    folder = tmp_path_factory.mktemp(request.param)
    jobs = [*JOBS, {"name": "export", "loop": "export"}]
    jobs += [{"name": f"{loop}-killed", "loop": loop, "killed_at": 4 if loop == "supervised" else 3} for loop in LOOPS]
    run_on_two_ranks(folder, [{**job, "engine": ENGINES[request.param]} for job in jobs])
    return folder


def test_weights_and_metrics_are_those_of_one_process(folder, expected, comparison):
    for name in (job["name"] for job in JOBS):
        comparison.assert_near(comparison.weights(folder, name), comparison.weights(expected, name))
        pairs = zip(comparison.metrics(folder, name), comparison.metrics(expected, name), strict=True)
        for (step, actual), (wanted_step, wanted) in pairs:
            assert (step, actual) == (wanted_step, pytest.approx(wanted, rel=1e-4, abs=1e-5)), name


def test_a_killed_run_goes_on_to_the_same_bits(folder, comparison):
    for loop in LOOPS:
        whole, resumed = comparison.weights(folder, loop), comparison.weights(folder, f"{loop}-killed")
        assert all(torch.equal(resumed[name], value) for name, value in whole.items()), loop
        assert comparison.metrics(folder, f"{loop}-killed") == comparison.metrics(folder, loop)


def test_an_export_holds_the_live_weights(folder):
    assert (folder / "export" / "saved" / "model.safetensors").is_file()
