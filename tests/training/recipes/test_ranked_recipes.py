"""Recipes on two processes by the one command: the model and record of one process, written once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from components.recorder import read_record
from components.training.recipes.running import prepare_recipe, run_recipe

SCRIPTS = Path(sys.executable).parent
RANKED = (str(SCRIPTS / "torchrun"), "--nproc-per-node", "2", "--no-python")

pytestmark = pytest.mark.slow  # each run starts processes that import torch


def _train_on_two(recipe: Path) -> str:
    done = subprocess.run([*RANKED, str(SCRIPTS / "quarkmed"), "train", str(recipe)], cwd=recipe.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _assert_same_model(output: Path, expected: Path) -> None:
    weights = load_file(output / "model" / "model.safetensors")
    for name, value in load_file(expected / "model" / "model.safetensors").items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    steps = [[entry["step"] for entry in read_record(folder / "record") if entry["kind"] == "metrics"] for folder in (output, expected)]
    assert steps[0] == steps[1] != []


def test_policy_recipe_data_parallel(policy_recipe, tmp_path):
    run_recipe(prepare_recipe(policy_recipe("one", output="one")))
    said = _train_on_two(policy_recipe("two", output="two", engine={"strategy": "ddp"}))
    assert said.count("record: ") == 1 and "on each of 2 processes (ddp)" in said
    _assert_same_model(tmp_path / "two", tmp_path / "one")


def test_supervised_recipe_in_parts(model_folder, tmp_path):
    lines = [{"messages": [{"role": "user", "content": f"what is {w}?"}, {"role": "assistant", "content": "it is gout"}]} for w in ("asthma", "angina", "eczema")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, engine in {"one": {}, "two": {"strategy": "fsdp"}}.items():
        recipe = {
            "kind": "supervised", "model": str(model_folder), "data": "data.jsonl", "validation": "data.jsonl", "output": name, "threads": 1, "engine": engine,
            "supervised": {"steps": 6, "batch_samples": 3, "micro_tokens": 64, "precision": "float32", "optimiser": {"learning_rate": 5.0e-3, "warmup_steps": 2}},
        }  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    run_recipe(prepare_recipe(tmp_path / "one.yaml"))
    _train_on_two(tmp_path / "two.yaml")
    _assert_same_model(tmp_path / "two", tmp_path / "one")


@pytest.mark.long
@pytest.mark.parametrize(("kind", "strategy"), [("reward_model", "fsdp"), ("preference", "ddp")])
def test_a_recipe_of_pairs(model_folder, tmp_path, kind, strategy):
    words = ("asthma", "angina", "eczema", "gout", "migraine")
    lines = [{"prompt": f"what is {word}?", "chosen": f"{word} it is", "rejected": "it is gout gout"} for word in words]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    section = {"steps": 5, "micro_tokens": 64, "precision": "float32", "optimiser": {"learning_rate": 5.0e-3, "warmup_steps": 2}}
    section |= {"reward_model": {"batch_samples": 3}, "preference": {"batch_pairs": 3}}[kind]
    for name, engine in {"one": {}, "two": {"strategy": strategy}}.items():
        recipe = {"kind": kind, "model": str(model_folder), "data": "pairs.jsonl", "output": name, "threads": 1, "engine": engine, kind: section}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    run_recipe(prepare_recipe(tmp_path / "one.yaml"))
    assert f"on each of 2 processes ({strategy})" in _train_on_two(tmp_path / "two.yaml")
    _assert_same_model(tmp_path / "two", tmp_path / "one")
    summaries = [json.loads((tmp_path / name / "finished.json").read_text())["summary"] for name in ("one", "two")]
    shown = [{key: value for key, value in summary.items() if not key.startswith("seconds")} for summary in summaries]
    assert shown[1] == pytest.approx(shown[0], rel=1e-4, abs=1e-5)
