"""The bench of samples a prompt: medians and growth by hand, and a smoke run of its loop."""

import dataclasses

import pytest
import torch

from bench.samples.__main__ import PROJECT, store, summary
from bench.samples.measuring import QUICK, SampleCost, growth, measure, sample_cost


def turn(seconds: float, part: float) -> dict[str, float]:
    names = ("generate", "reference", "policy", "optimiser", "floor_generate", "floor_update")
    return {"steps": 2, "seconds": seconds, "tokens": 40.0} | {f"seconds_{name}": part for name in names}


def test_a_cost_is_the_median_over_turns_of_the_mean_step():
    # turns of 2 steps: 1, 2 and 5 s a step; parts of .1, .2 and .5 a step, update is three of them
    cost = sample_cost(4, [turn(2.0, 0.2), turn(10.0, 1.0), turn(4.0, 0.4)], prompts=8)
    assert dataclasses.astuple(cost) == pytest.approx((4, 32, 20.0, 2.0, 0.2, 0.2, 0.6, 0.2))


def test_growth_is_1_where_the_cost_is_proportional_to_the_answers():
    costs = [SampleCost(count, 8 * count, 1.0, step, step / 4, 0.1, 1.0, 0.1) for count, step in ((4, 1.0), (8, 1.5), (32, 4.0))]
    # 8 times the answers in 4 times the seconds: ½; an update that costs the same at any count: ⅛
    assert growth(costs, "step") == pytest.approx(0.5)
    assert growth(costs, "update") == pytest.approx(0.125)


def test_a_smoke_run_measures_every_count_and_is_stored_with_its_plot(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    costs = measure(PROJECT, QUICK)
    torch.set_num_threads(threads)
    assert [(cost.samples, cost.answers) for cost in costs] == [(2, 8), (4, 16)]
    assert all(cost.step > cost.generate + cost.update > 0 and cost.tokens >= cost.answers for cost in costs)
    path = store(costs, QUICK, tmp_path)
    assert summary(costs, QUICK)["samples"] == [2, 4]
    assert "in proportion to the first" in path.with_suffix(".svg").read_text()
