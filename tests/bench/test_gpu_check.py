"""The GPU check without a GPU: it says that there is none, finds what differs, and reckons growth as it should."""

import copy
import dataclasses
import math
import os
import xml.etree.ElementTree as ElementTree

import psutil
import pytest
import torch

from bench.curves import write_curves
from bench.gpu_check import __main__ as command
from bench.gpu_check import whole_runs
from bench.gpu_check.agreement import against_transformers, gradients_against_processor, random_ids
from bench.gpu_check.checks import Check
from bench.gpu_check.outcome import Outcome, store_outcome
from bench.gpu_check.plan import REHEARSAL
from bench.gpu_check.speed import ContextCost, Rate, growth
from bench.gpu_check.whole_runs import check_whole_runs
from components.evaluation.report.charts import Series
from components.generation.process_tree import has_ended
from components.launch.torch_setup import CACHES, CUBLAS_WORKSPACE
from components.sizing.machine import DeviceSpeed

SEQUENCES = random_ids((7, 12, 20), vocabulary=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_cuda_device_one_message_says_so_and_the_exit_code_is_2(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.gpu_check"])
    assert command.main() == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "no CUDA device" in said[0] and "--rehearse" in said[0]


@pytest.fixture
def torch_as_before(monkeypatch):
    threads, mode, filled = torch.get_num_threads(), torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    for name in (*CACHES, "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, os.environ.get(name, "64" if name in CACHES else CUBLAS_WORKSPACE))
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)
    torch.utils.deterministic.fill_uninitialized_memory = filled


def test_a_rehearsal_runs_everything_and_a_device_agrees_with_itself_and_repeats(torch_as_before):
    outcome = command.check(command.PROJECT, dataclasses.replace(REHEARSAL, run_steps=0), torch.device("cpu"))
    assert [check.name for check in outcome.checks if not check.is_ok] == []
    assert sum("GRPO" in check.name for check in outcome.checks) == 4 and sum("supervised" in check.name for check in outcome.checks) == 2
    assert all(rate.tokens_per_second > 0 for rate in outcome.rates) and len(outcome.costs) == len(REHEARSAL.contexts)
    assert all(seconds > floor > 0 for cost in outcome.costs for seconds, floor in ((cost.train_seconds, cost.train_floor), (cost.update_seconds, cost.update_floor)))


@pytest.mark.slow  # starts four processes that import torch
def test_a_killed_run_goes_on_and_a_strategy_ends_with_the_same_weights(tiny_model, tiny_tokenizer, tmp_path):
    checks = check_whole_runs(tiny_model, tiny_tokenizer, REHEARSAL, tmp_path, processes=1)
    assert [(check.is_ok, check.value) for check in checks] == [(True, 0.0)] * 3, checks


@pytest.mark.slow
def test_a_run_that_fails_is_a_failed_check_with_its_words(tiny_model, tiny_tokenizer, tmp_path):
    wrong = dataclasses.replace(REHEARSAL, strategies={"nonsense": {"strategy": "nonsense"}})
    *pairs, ranked = check_whole_runs(tiny_model, tiny_tokenizer, wrong, tmp_path, processes=1)
    assert all(pair.is_ok for pair in pairs) and not ranked.is_ok and "engine.strategy" in ranked.name


def test_a_run_that_hangs_is_a_failed_check_and_leaves_no_process(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    numbers = tmp_path / "numbers"
    script = f"echo $$ >> {numbers}; sleep 600 & echo $! >> {numbers}; wait"  # a process and one that it starts, as torchrun does
    monkeypatch.setattr(whole_runs, "_command", lambda recipe, processes: ["bash", "-c", script])
    monkeypatch.setattr(whole_runs, "TIMEOUT_SECONDS", 1)
    checks = check_whole_runs(tiny_model, tiny_tokenizer, REHEARSAL, tmp_path, processes=1)
    assert len(checks) == 3 and not any(check.is_ok for check in checks) and all("1 s" in check.name for check in checks)
    started = [int(line) for line in numbers.read_text().split()]
    assert len(started) >= 10 and not any(_is_running(number) for number in started)


def _is_running(number: int) -> bool:
    return psutil.pid_exists(number) and not has_ended(psutil.Process(number))


def test_a_device_that_computes_something_else_is_found(tiny_model):
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.model.layers[1].mlp.down_proj.weight[3] *= 1.05
    failed = [check.name for check in gradients_against_processor(tiny_model, other, SEQUENCES) if not check.is_ok]
    assert "packed gradients against the processor, float32" in failed


def test_a_forward_that_is_not_transformers_is_found(tiny_model, monkeypatch):
    monkeypatch.setattr("components.modeling.packed_pass.forward_packed", lambda model, batch, **_: torch.ones(len(batch.read.tokens_W), model.config.hidden_size))
    assert not against_transformers(tiny_model, SEQUENCES, precision="float32")[0].is_ok


def test_a_check_that_found_no_number_is_failed():
    assert not Check("c", math.nan, 1.0).is_ok and Check("c", 1.0, 1.0).is_ok


def test_growth_is_measured_over_that_of_the_operations():
    costs = [ContextCost(512, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0), ContextCost(1024, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0), ContextCost(8192, 6.0, 1.5, 9.0, 2.0, 6.0, 4.0)]
    # supervised: three times as dear a token where the operations are 1.5 times as many; updates: nine times where twice; decoding: twice where 4 times
    assert growth(costs, "train") == pytest.approx(2.0)
    assert growth(costs, "update") == pytest.approx(4.5)
    assert growth(costs, "decode") == pytest.approx(0.5)


def test_what_was_found_is_stored_with_a_plot(tmp_path):
    costs = [ContextCost(512, 2e-9, 1e-9, 2e-9, 1e-9, 3e-9, 1e-9), ContextCost(8192, 6e-9, 1.5e-9, 6e-9, 2e-9, 6e-9, 4e-9)]
    outcome = Outcome("a device", DeviceSpeed(9e14, 3e12), [Check("c", 2.0, 1.0)], [Rate("sampling", 1000.0, 0.25)], {"sampling": 400.0}, costs, 12.0, has_vllm=False, plan=REHEARSAL)
    path = store_outcome(outcome, tmp_path)
    summary = outcome.summary()
    assert (summary["is_ok"], summary["failed"], summary["roofline_sampling"], summary["peak_teraflops"]) == (False, ["c"], 0.25, 900.0)
    assert summary["rollout_vs_transformers"] == 2.5 and summary["supervised_vs_transformers"] is None
    training, decoding = (path.with_name(f"{path.stem}-{kind}.svg").read_text() for kind in ("training", "decoding"))
    assert path.is_file() and "decoding, floor" in decoding and "GRPO update" in training and "decoding" not in training


def test_a_curve_is_a_picture_by_itself(tmp_path):
    write_curves(tmp_path / "curve.svg", [Series("ours", [(4.0, 1.0), (32.0, 8.0)])], x_title="answers a prompt", y_title="seconds")
    root = ElementTree.parse(tmp_path / "curve.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"ours", "answers a prompt", "seconds"} <= {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert root.find("{http://www.w3.org/2000/svg}style") is not None
