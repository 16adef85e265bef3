"""What the loops record of seconds and floors: sums by hand over the steps' own tokens, and names that mark them as timings."""

from time import perf_counter

import pytest
import torch

from components.generation.native_sampler import NativeSampler
from components.recorder import Recorder, read_record, without_timings
from components.settings.training import AdapterSettings, OptimiserSettings, PolicySettings, SupervisedSettings
from components.sizing.floors import Tree
from components.sizing.machine import device_speed
from components.storage.checkpoints import CheckpointFolder
from components.training.floors import StepFloors, Stopwatch, settled_clock
from components.training.policy.collection import Collection
from components.training.policy.floors import rollout_floors
from components.training.policy.groups import Answer, Group, LiveGroup, PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.supervised.examples import Example
from components.training.supervised.loop import SupervisedRun

OPTIMISER = OptimiserSettings(learning_rate=1e-3)


def group(prompt, *answers):
    answers = tuple(Answer((7,) * length, (0.0,) * length, "stop", "", {"correct": 1.0}) for length in answers)
    return Group(0, PolicyPrompt("p", "toy", (5,) * prompt), answers), LiveGroup((5,) * prompt, answers, (1.0,) * len(answers))


def values(folder):
    return [entry["values"] for entry in read_record(folder) if entry["kind"] == "metrics"]


def test_a_rollouts_floors_count_each_round_the_reference_and_the_old_policy(tiny_model):
    (first, live_first), (second, live_second), (silent, _) = group(4, 2, 3), group(6, 1, 5), group(3, 2, 2)
    collected = Collection(groups=[first, silent, second], live=[live_first, live_second], round_sizes=[2, 1])
    floors = StepFloors(tiny_model, precision="float32")
    settings = PolicySettings(optimiser=OPTIMISER, steps=1, updates_per_rollout=2)
    found = rollout_floors(floors, collected, settings=settings, has_reference=True)
    trees = [Tree(4, (2, 3)), Tree(3, (2, 2)), Tree(6, (1, 5))]
    # two rounds of sampling, of two prompts and of one
    assert found["seconds_floor_generate"] == pytest.approx(floors.generate(trees[:2]) + floors.generate(trees[2:]))
    # 3 forwards of the policy and 1 of the reference over the groups that count, 1 of the old policy over the second half
    both = floors.forward([trees[0], trees[2]], headed=11)
    assert found["seconds_floor_update"] == pytest.approx(4 * both + floors.forward([trees[2]], headed=6))


def test_adapters_and_ranks_lower_the_floor(tiny_model):
    trees, whole = [Tree(9)], StepFloors(tiny_model, precision="float32")
    assert StepFloors(tiny_model, precision="float32", is_adapted=True).update(trees, headed=4) == pytest.approx(2 * whole.forward(trees, headed=4))
    assert StepFloors(tiny_model, precision="float32", ranks=2).update(trees, headed=4) == pytest.approx(1.5 * whole.forward(trees, headed=4))


def test_a_supervised_step_records_the_floor_of_the_tokens_it_passes(tiny_model, tmp_path):
    examples = [Example(tuple(range(5, 5 + length)), (False,) + (True,) * (length - 1)) for length in (6, 4)]
    SupervisedRun(
        tiny_model, examples, [[0, 1]] * 2, settings=SupervisedSettings(optimiser=OPTIMISER, steps=2, precision="float32", checkpoint_every=1),
        recorder=Recorder(tmp_path / "record"), checkpoints=CheckpointFolder(tmp_path / "checkpoints", key="k"), validation=examples,
    ).run()  # fmt: skip
    steps = [step for step in values(tmp_path / "record") if "loss" in step]
    shape = StepFloors(tiny_model, precision="float32").shape
    # the last token of an example predicts nothing and is not passed: 5 + 3 tokens, each a target's, 5²/2 + 3²/2 pairs
    expected = 3 * shape.forward_flops(tokens=8, headed=8, seen=17) / device_speed("float32", "cpu").flops
    assert [step["seconds_floor_update"] for step in steps] == pytest.approx([expected] * 2)
    assert all({"seconds_update", "seconds_checkpoint"} <= set(step) for step in steps)
    assert all("seconds_look" in step for step in values(tmp_path / "record") if "validation_loss" in step)


@pytest.mark.parametrize("adapters", [AdapterSettings(), AdapterSettings(rank=2)])
def test_a_policy_step_records_its_seconds_and_floors_and_sums_them_up(tiny_model, tiny_tokenizer, tmp_path, adapters):
    prompts = [PolicyPrompt(str(number), "toy", (5, 6, 7 + number)) for number in range(4)]
    settings = PolicySettings(
        optimiser=OPTIMISER, adapters=adapters, steps=2, prompts_per_step=4, completions=2, max_new_tokens=4, precision="float32", mask_truncated=False,
        mastered_pass_rate=1.0,
    )  # fmt: skip
    result = optimise_policy(
        tiny_model, prompts, lambda asked, texts: [{"correct": index % 2} for index, _ in enumerate(texts)], sampler=NativeSampler(tiny_model, tiny_tokenizer),
        settings=settings, seed=1, recorder=Recorder(tmp_path),
    )  # fmt: skip
    steps = [step for step in values(tmp_path) if "kl" in step]
    named = ("sync", "generate", "score", "reference", "policy", "optimiser", "floor_generate", "floor_update")
    for name in named:
        assert all(step[f"seconds_{name}"] > 0 for step in steps)
        assert result.summary[f"seconds_{name}"] == pytest.approx(sum(step[f"seconds_{name}"] for step in steps))
    forward = sum(step["seconds_floor_update"] for step in steps) / (3 if adapters.rank else 4)  # with the reference's
    assert forward * device_speed("float32", "cpu").flops > 2 * StepFloors(tiny_model, precision="float32").shape.body * sum(step["packed_tokens"] for step in steps)


def test_a_clock_is_read_when_a_gpu_has_done_its_work(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append((device, perf_counter())))
    settled_clock(torch.device("cpu"))
    assert waited == []
    read = settled_clock(torch.device("cuda", 1))
    assert [device for device, _ in waited] == [torch.device("cuda", 1)] and read > waited[0][1]


def test_every_timing_is_named_as_one():
    watch = Stopwatch()
    for name in ("checkpoint", "checkpoint", "look"):
        with watch.on(name):
            torch.zeros(1)
    taken = watch.take()
    assert set(taken) == {"seconds_checkpoint", "seconds_look"} and watch.take() == {}
    assert Stopwatch("checkpoint").take() == {"seconds_checkpoint": 0.0}
    assert without_timings({**taken, "loss": 1.0}) == {"loss": 1.0}
