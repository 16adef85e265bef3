"""Weights and moments in parts on two real processes: FSDP2 and ZeRO-1, 2 and 3 train, resume and export as one process does."""

import json
import shutil

import pytest
import torch

pytestmark = pytest.mark.slow  # two processes that import DeepSpeed start in half a minute

SHARDED = {
    "fsdp": {"strategy": "fsdp"},
    **{name: {"strategy": "deepspeed", "config": f"infra/deepspeed/{name}.json"} for name in ("zero1", "zero2", "zero3")},
}
OFFLOADED = {name: {"strategy": "deepspeed", "config": f"infra/deepspeed/{name}.json"} for name in ("zero2-offload", "zero3-offload")}
ENGINES = SHARDED | OFFLOADED
RUNS = [
    {"name": "supervised", "loop": "supervised"},
    {"name": "policy", "loop": "policy"},
    {"name": "supervised-more", "loop": "supervised", "settings": {"recompute": True, "patience": 9}},
    {"name": "policy-more", "loop": "policy", "settings": {"updates_per_rollout": 2, "validate_every": 2, "recompute": True, "loss": "gspo"}},
]
PAIRS = {"rewards": {"steps": 4}, "preference": {"steps": 4}}  # loops over preference pairs → settings
PAIRS_RUNS = [{"name": loop, "loop": loop, "settings": settings} for loop, settings in PAIRS.items()]
MUON = {"name": "supervised-muon", "loop": "supervised", "settings": {"optimiser": {"learning_rate": 3e-3, "warmup_steps": 2, "kind": "muon"}}}
LEFT_AT = {"supervised": 4, "policy": 3, "rewards": 3, "preference": 3}  # after a checkpoint and a step that has to be done again
CHANGES = [("fsdp", "zero3"), ("zero3", "fsdp"), ("zero1", "zero2")]  # of the engine, at a kill
PAIRS_CHANGES = {("fsdp", "zero3"): "rewards", ("zero3", "fsdp"): "preference", ("zero1", "zero2"): "rewards"}  # one loop each
CHANGED = [(*change, loop) for change in CHANGES for loop in ("supervised", "policy", PAIRS_CHANGES[change])]
LEFT = [(engine, loop) for engine, pairs in (("fsdp", "rewards"), ("zero3", "preference")) for loop in ("supervised", "policy", pairs)]
TOLD = [*((engine, "supervised") for engine in ENGINES), ("fsdp", "preference"), ("zero3", "rewards")]
DIVERGING = [*((engine, "policy") for engine in ENGINES), ("fsdp", "preference"), ("zero2", "rewards"), ("zero3", "preference")]
EXPORTED = [*((engine, "export") for engine in ENGINES), *((engine, "export_rewards") for engine in SHARDED)]


def _jobs():
    for engine, settings in ENGINES.items():
        runs = RUNS if engine in SHARDED else RUNS[:2]
        yield from ({**job, "name": f"{engine}/{job['name']}", "engine": settings} for job in [*runs, *PAIRS_RUNS])
        for loop, count in LEFT_AT.items():
            if engine in SHARDED or loop not in PAIRS:
                yield _job(engine, loop, "killed", killed_at=count)
    yield from (_job(engine, loop, "told", told_at=4 if loop == "supervised" else 2) for engine, loop in TOLD)
    yield from ({"name": f"{engine}/{loop}", "loop": loop, "engine": ENGINES[engine]} for engine, loop in EXPORTED)
    for engine, loop in DIVERGING:
        yield {"name": f"{engine}/{loop}-diverging", "loop": "diverging", "engine": ENGINES[engine], "settings": {"of": loop}}
    for name, count in {"fsdp/supervised-muon": None, "fsdp/supervised-muon-killed": 4}.items():
        yield {**MUON, "name": name, "engine": ENGINES["fsdp"], "killed_at": count}
    yield from (_job(engine, loop, f"to-{other}", killed_at=LEFT_AT[loop], goes_on=ENGINES[other]) for engine, other, loop in CHANGED)
    yield from (_job(engine, loop, "left", killed_at=LEFT_AT[loop], goes_on=None) for engine, loop in LEFT)


def _job(engine, loop, what, **others):
    return {"name": f"{engine}/{loop}-{what}", "loop": loop, "engine": ENGINES[engine], "settings": PAIRS.get(loop, {}), **others}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, run_on_two_ranks, run_here):
    """Return the folder of the runs in one process and of those on two ranks."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    run_on_two_ranks(two, list(_jobs()))
    run_here(one, [*RUNS, *PAIRS_RUNS, MUON])
    return one, two


def _assert_near(folders, comparison, actual, expected):
    """Compare a run on two ranks with one in one process: weights to 1e-5, metrics to a relative 1e-4.

    Parts add an embedding's gradient up in another order than whole weights do; a hundredth of a step (3e-3) where it cancels.
    """
    one, two = folders
    comparison.assert_near(comparison.weights(two, actual), comparison.weights(one, expected), cancelled=3e-5)
    pairs = zip(comparison.metrics(two, actual), comparison.metrics(one, expected), strict=True)
    for (step, values), (wanted_step, wanted) in pairs:
        assert (step, values) == (wanted_step, pytest.approx(wanted, rel=1e-4, abs=1e-5))


@pytest.mark.parametrize("run", [job["name"] for job in [*RUNS, *PAIRS_RUNS]])
@pytest.mark.parametrize("engine", SHARDED)
def test_weights_and_metrics_are_those_of_one_process(folders, comparison, engine, run):
    _assert_near(folders, comparison, f"{engine}/{run}", run)


@pytest.mark.parametrize("loop", LEFT_AT)
@pytest.mark.parametrize("engine", OFFLOADED)
def test_what_is_offloaded_changes_nothing(folders, comparison, engine, loop):
    _assert_near(folders, comparison, f"{engine}/{loop}", loop)


@pytest.mark.parametrize(
    ("engine", "loop"), [(engine, loop) for engine in ENGINES for loop in LEFT_AT if engine in SHARDED or loop not in PAIRS]
)
def test_a_killed_run_goes_on_to_the_same_bits(folders, comparison, engine, loop):
    _, two = folders
    whole, resumed = comparison.weights(two, f"{engine}/{loop}"), comparison.weights(two, f"{engine}/{loop}-killed")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert comparison.metrics(two, f"{engine}/{loop}-killed") == comparison.metrics(two, f"{engine}/{loop}")


@pytest.mark.parametrize(("engine", "loop"), TOLD)
def test_one_rank_told_to_stop_stops_all_and_the_run_goes_on_to_the_same_bits(folders, comparison, engine, loop):
    whole, resumed = (comparison.weights(folders[1], f"{engine}/{name}") for name in (loop, f"{loop}-told"))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_muon_steps_on_matrices_in_parts(folders, comparison):
    _assert_near(folders, comparison, "fsdp/supervised-muon", "supervised-muon")
    whole, resumed = (comparison.weights(folders[1], name) for name in ("fsdp/supervised-muon", "fsdp/supervised-muon-killed"))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.parametrize(("engine", "other", "loop"), CHANGED)
def test_a_killed_run_goes_on_under_another_engine(folders, comparison, engine, other, loop):
    _assert_near(folders, comparison, f"{engine}/{loop}-to-{other}", loop)


@pytest.mark.parametrize(("engine", "loop"), LEFT)
def test_a_killed_run_goes_on_in_one_process(folders, comparison, run_here, tmp_path, engine, loop):
    one, two = folders
    shutil.copytree(two / engine / f"{loop}-left", tmp_path / loop)
    steps = [path.name for path in (tmp_path / loop / "checkpoints").glob("step-*")]
    assert "step-00000002" in steps  # it goes on from there
    run_here(tmp_path, [{"name": loop, "loop": loop, "settings": PAIRS.get(loop, {})}])
    comparison.assert_near(comparison.weights(tmp_path, loop), comparison.weights(one, loop))
    assert len(comparison.metrics(tmp_path, loop)) == len(comparison.metrics(one, loop))


@pytest.mark.parametrize(("engine", "loop"), EXPORTED)
def test_an_export_holds_the_live_weights(folders, engine, loop):
    assert (folders[1] / engine / loop / "saved" / "model.safetensors").is_file()  # `export` in ranked_runs.py has compared it


@pytest.mark.parametrize(("engine", "loop"), DIVERGING)
def test_a_run_that_diverges_stops_on_all_ranks_and_keeps_the_evidence(folders, engine, loop):
    evidence = json.loads((folders[1] / engine / f"{loop}-diverging" / "checkpoints" / "diverged.json").read_text())
    assert ("above kl_limit" if loop == "policy" else "loss") in evidence["reason"]
