"""Weights and moments in parts on two real processes: FSDP2, ZeRO-2 and ZeRO-3 train, resume and export as one process does."""

import pytest
import torch

pytestmark = pytest.mark.slow  # DeepSpeed alone starts in half a minute

ENGINES = {
    "fsdp": {"strategy": "fsdp"},
    "zero1": {"strategy": "deepspeed", "zero_stage": 1},
    "zero2": {"strategy": "deepspeed", "zero_stage": 2},
    "zero3": {"strategy": "deepspeed", "zero_stage": 3},
}
LOOPS = ("supervised", "policy", "preference")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, run_here):
    folder = tmp_path_factory.mktemp("one")
    run_here(folder, [{"name": loop, "loop": loop} for loop in LOOPS])
    return folder


@pytest.fixture(scope="module", params=list(ENGINES))
def folder(request, tmp_path_factory, run_on_two_ranks):
    """Return the folder of an engine's runs; that of `export` has compared what it wrote with the live weights."""
    folder = tmp_path_factory.mktemp(request.param)
    jobs = [{"name": loop, "loop": loop} for loop in (*LOOPS, "export")]
    jobs += [{"name": f"{loop}-killed", "loop": loop, "killed_at": 4 if loop == "supervised" else 3} for loop in LOOPS[:2]]
    run_on_two_ranks(folder, [{**job, "engine": ENGINES[request.param]} for job in jobs])
    return folder


def test_weights_and_metrics_are_those_of_one_process(folder, expected, comparison):
    for loop in LOOPS:
        comparison.assert_near(comparison.weights(folder, loop), comparison.weights(expected, loop))
        pairs = zip(comparison.metrics(folder, loop), comparison.metrics(expected, loop), strict=True)
        for (step, actual), (wanted_step, wanted) in pairs:
            assert (step, actual) == (wanted_step, pytest.approx(wanted, rel=1e-4, abs=1e-5)), loop


def test_a_killed_run_goes_on_to_the_same_bits(folder, comparison):
    for loop in LOOPS[:2]:
        whole, resumed = comparison.weights(folder, loop), comparison.weights(folder, f"{loop}-killed")
        assert all(torch.equal(resumed[name], value) for name, value in whole.items()), loop
        assert comparison.metrics(folder, f"{loop}-killed") == comparison.metrics(folder, loop)


def test_an_export_holds_the_live_weights(folder):
    assert (folder / "export" / "exported" / "model.safetensors").is_file()
