"""The training bench's own parts, without peers: turns alternate, ratios are right by hand, both sides get the same data."""

import json
import random
import sys
import types
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from bench import peer_environments, peer_process
from bench.peer_process import PeerProcess
from bench.training import bench as training_bench
from bench.training import data, ours, works
from bench.training.models import make_stopping, never_stopping_model
from bench.training.outcome import summary
from bench.training.peak import PeakShare, product_rate, step_flops
from bench.training.plan import SIZES, Plan, quick_plan
from bench.training.turns import Comparison, rates, take_turns, worst_ratio
from components.errors import DataError, UserError
from components.generation.native_sampler import NativeSampler
from components.generation.sampler import SamplingOptions
from components.modeling.models import save_model
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.training import ModelSettings
from components.training.supervised.examples import Example, chat_examples

WORDS = ("asthma causes wheeze and night cough", "chest pain and fever", "salbutamol treats asthma")


def comparison(work: str, kind: str, ours_rates: tuple[float, ...], peer: tuple[float, ...], precision: str = "float32") -> Comparison:
    return Comparison(work, kind, "3", precision, "samples/s", ours_rates, peer, {})


def test_sides_are_measured_in_turn():
    seen: list[str] = []

    def side(name: str):
        return lambda kind: seen.append(f"{name} {kind}") or {"seconds": 2.0, "tokens": 10.0}

    mine, _ = take_turns(side("ours"), side("peer"), "fixed", pairs=2)
    assert seen == ["ours fixed", "peer fixed", "ours fixed", "peer fixed"]
    assert rates(mine, "tokens") == (5.0, 5.0)


def test_ratio_is_the_median_over_pairs_and_the_worst_over_number_types():
    # pairs 4/2, 9/3, 5/1 → 2, 3, 5; the medians of both sides apart would give 5/2
    middle = comparison("sft", "packed", (4.0, 9.0, 5.0), (2.0, 3.0, 1.0))
    assert middle.ratio == 3.0
    assert worst_ratio([middle, comparison("sft", "packed", (1.0,), (0.5,), "bfloat16")]) == 2.0
    assert worst_ratio([]) is None


def test_answer_lengths_of_both_sides_are_told_where_both_count_them():
    counted = {"ours_tokens": 60.0, "ours_samples": 4, "peer_tokens": 62.0, "peer_samples": 4}
    assert Comparison("grpo", "stops", "3", "float32", "samples/s", (1.0,), (1.0,), counted).answer_lengths == (15.0, 15.5)
    assert comparison("sft", "packed", (1.0,), (1.0,)).answer_lengths is None


def test_last_line_names_every_ratio_and_leaves_what_was_not_measured_null():
    found = [comparison("rollout", "fixed", (8.0,), (2.0,)), comparison("rollout", "stops", (9.0,), (1.0,)), comparison("rollout_vllm", "stops", (3.0,), (2.0,))]
    shares = [PeakShare("float32", 150.0, 300.0, 400.0), PeakShare("bfloat16", 160.0, 400.0, 400.0)]
    line = json.loads(json.dumps(summary(found, shares, Plan(("3",)), file=None)))
    assert (line["rollout_vs_hf"], line["rollout_stops_vs_hf"], line["rollout_vs_vllm"], line["grpo_vs_trl"]) == (4.0, 9.0, 1.5, None)
    assert line["peak_share"] == 0.375 and line["peak_share_own_precision"] == {"float32": 0.5, "bfloat16": 0.4}
    assert {"sft_packed_vs_trl", "dpo_vs_trl", "rm_vs_trl"} <= set(line)


def test_flops_of_a_step_are_counted_from_the_shape():
    shape = ModelSettings(vocabulary=512, hidden=16, layers=2, heads=2, key_value_heads=1, head_dimension=8, intermediate=32)
    examples = [Example((1, 2, 3), (False, True, True)), Example((4, 5, 6), (False, False, True))]
    # a layer: q and o 16 · 16 each, k and v 16 · 8 each, three of 16 · 32: 768 + 1536 = 2304, of which 2048 are not k and v;
    # 2 + 2 tokens passed, 3 of them predict a target: products 6 · (2 · 2304 · 4 − 2048 + 16 · 512 · 3); attention 6 · 2 layers · 16 · (4 + 4)
    assert step_flops(shape, examples, vocabulary=512) == 6 * (18432 - 2048 + 24576) + 1536
    assert product_rate(torch.float32, seconds=0.001, shapes=((64, 64, 64),)) > 0


def test_lengths_follow_the_deciles():
    numbers = random.Random(1)
    drawn = [data.drawn_length(data.INSTRUCTION_PROMPT, numbers) for _ in range(4000)]
    assert min(drawn) >= 16 and max(drawn) <= 80
    assert abs(sum(drawn) / len(drawn) - 35.4) < 0.6  # the mean of the decile intervals' middles


def test_texts_have_about_the_asked_length_and_follow_the_seed(tiny_tokenizer):
    first, again = (data.Writer(tiny_tokenizer, WORDS, seed).samples(40) for seed in (3, 3))
    assert first == again != data.Writer(tiny_tokenizer, WORDS, 4).samples(40)
    lengths = [len(example.ids) for example in chat_examples(tiny_tokenizer, first, context=512)]
    assert 40 <= sum(lengths) / len(lengths) <= 56


def test_model_stops_with_the_asked_chance_or_never(tiny_tokenizer):
    prompts, options = [[300, 301, 302]] * 8, SamplingOptions(max_new_tokens=24, samples=32, seed=5)

    model = never_stopping_model(SIZES["tiny"], tokenizer=tiny_tokenizer, seed=1)

    def answers():
        return [answer for group in NativeSampler(model, tiny_tokenizer).generate(prompts, options) for answer in group]

    assert {len(answer.ids) for answer in answers()} == {24}
    make_stopping(model, [[310, 311]] * 4, tokenizer=tiny_tokenizer, chance=0.1, seed=2)
    # the geometric law's mean cut at 24: (1 − .9^24) / .1 = 9.2; 256 answers: a standard error of .5
    assert sum(len(answer.ids) for answer in answers()) / 256 == pytest.approx(9.2, abs=1.5)


@pytest.fixture
def place(tmp_path, tiny_tokenizer):
    model = never_stopping_model(SIZES["tiny"], tokenizer=tiny_tokenizer, seed=1)
    for name in ("plain", "fixed", "stops"):
        save_model(model, tiny_tokenizer, tmp_path / name)
    save_reward_model(create_reward_model(model, seed=1), tiny_tokenizer, tmp_path / "reward", mean=0.0, scale=1.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield works.Place(quick_plan(threads=1), "tiny", "float32", tmp_path, tiny_tokenizer, WORDS)
    torch.set_num_threads(threads)


def test_supervised_sides_get_the_same_tokens_or_are_refused(place):
    sides = works.WORKS["sft"].prepare(place)
    tokens, targets = sum(len(ids) for ids, _ in sides.job["examples"]), sum(sum(mask) for _, mask in sides.job["examples"])
    turn = sides.ours("packed")
    assert (turn["tokens"], turn["targets"], turn["steps"]) == (tokens, targets, 2) and turn["seconds"] > 0
    sides.refuse({"tokens": tokens, "targets": targets})
    with pytest.raises(DataError, match="targets"):
        sides.refuse({"tokens": tokens, "targets": targets - 1})


def test_policy_sides_get_the_same_prompts_and_every_answer_counts(place):
    sides = works.WORKS["grpo"].prepare(place)
    again = place.tokenizer(text=sides.job["prompts"])["input_ids"]
    sides.refuse({"prompt_tokens": sum(map(len, again))})
    with pytest.raises(DataError, match="prompts"):
        sides.refuse({"prompt_tokens": 1})
    turn = sides.ours("stops")
    assert turn["samples"] == 4 * 2 * 1 and turn["seconds_policy"] > 0  # prompts, answers, steps
    assert ours.pseudo_reward([], ["ab"]) == [{"score": (97 + 98) % 101 / 100}]


@pytest.mark.parametrize("name", ["dpo", "reward"])
def test_preference_sides_get_the_same_pairs_each_with_a_prompt_of_its_own(place, name):
    sides = works.WORKS[name].prepare(place)
    assert len({pair["prompt"] for pair in sides.job["pairs"]}) == len(sides.job["pairs"]) == 4 * 4
    turn = sides.ours("pairs")
    assert turn["samples"] == 4 and turn["seconds"] > 0  # a batch of 4 pairs, one measured step
    assert sides.row_batches == (1, 4)


class FakePeer:
    """A peer whose speed is that of its batch shape; counts who is still open."""

    open: ClassVar[set[int]] = set()

    def __init__(self, script, job, *, python, folder, threads):
        self.row_batch = job["row_batch"]

    def __enter__(self):
        self.open.add(self.row_batch)
        return self

    def __exit__(self, *_):
        self.open.discard(self.row_batch)

    def turn(self, kind):
        return {"tokens": {1: 50.0, 3: 90.0, 8: 70.0}[self.row_batch], "seconds": 1.0}


def test_fastest_batch_shape_of_the_peer_is_kept_and_the_others_end(monkeypatch, tmp_path):
    monkeypatch.setattr(training_bench, "PeerProcess", FakePeer)
    sides = works.Sides(lambda kind: {}, {}, (1, 3, 8))
    with ExitStack() as stack:
        peer, row_batch = training_bench._fastest(works.WORKS["sft"], sides, stack, python=tmp_path, folder=tmp_path, threads=1)
        assert (peer.row_batch, row_batch, FakePeer.open) == (3, 3, {3})
    assert not FakePeer.open


def test_peer_is_asked_turn_by_turn_and_its_end_is_told(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(
        f"import sys\nsys.path.insert(0, {str(peer_process.SCRIPTS)!r})\nfrom turns import Turns, read_job\nturns, job = Turns(), read_job()\nprint('noise')\n"
        "turns.ready(two=job['two'], threads=job['threads'])\n"
        "while (kind := turns.next()) is not None:\n    if kind == 'break':\n        raise SystemExit('broken here')\n    turns.report(kind=kind)\n"
    )
    monkeypatch.setattr(peer_process, "SCRIPTS", tmp_path)
    with PeerProcess("echo", {"two": 2}, python=Path(sys.executable), folder=tmp_path / "work", threads=1) as peer:
        assert peer.ready == {"ready": True, "two": 2, "threads": 1}
        assert [peer.turn(kind) for kind in ("fixed", "stops")] == [{"kind": "fixed"}, {"kind": "stops"}]
        with pytest.raises(UserError, match="broken here"):
            peer.turn("break")


def test_environment_is_made_once_and_anew_when_its_pins_change(tmp_path, monkeypatch):
    calls: list[tuple[str, ...]] = []

    def run(command, **_):
        calls.append(tuple(command[1:3]))
        (tmp_path / "var/bench/peers/x/venv/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "var/bench/peers/x/venv/bin/python").touch()
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(peer_environments, "PINS", tmp_path)
    monkeypatch.setattr(peer_environments.subprocess, "run", run)
    (tmp_path / "x.txt").write_text("a==1")
    for _ in range(2):
        peer_environments.peer_python("x", project=tmp_path)
    assert calls == [("venv", "--quiet"), ("pip", "install")]
    (tmp_path / "x.txt").write_text("a==2")
    peer_environments.peer_python("x", project=tmp_path)
    assert len(calls) == 4
    assert peer_environments.peer_python(peer_environments.OURS, project=tmp_path) == Path(sys.executable)


def test_peer_scripts_import_nothing_of_the_project():
    for script in (Path(works.__file__).parents[1] / "peers").glob("*.py"):
        text = script.read_text(encoding="utf-8")
        assert "import components" not in text and "from components" not in text and "from bench" not in text, script
