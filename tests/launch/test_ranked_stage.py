"""A training stage on two processes by the one command: it publishes once, what one process publishes to 1e-5."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from components import layout
from components.cases.case import Case
from components.conversations import Message
from components.documents import write_jsonl
from components.errors import SettingsError
from components.launch.ranked_stage import execute_ranked_stage
from components.modeling.models import create_model, save_model
from components.modeling.tokenizers import train_tokenizer
from components.pipeline.running import open_store
from components.recorder import read_record
from components.settings.settings import load_settings
from components.settings.training import ModelSettings
from components.storage.artifact_store import read_reference, write_reference

PROJECT = Path(__file__).parents[2]

def _rewards_project(root: Path, small_project: Callable[..., Path], *, strategy: str) -> Path:
    """Return the project with a tiny base and ift, and a question about six clusters to which the gold answer is known."""
    small_project(root, strategy=strategy)
    (root / layout.KNOWLEDGE_BASE).parent.mkdir()
    (root / layout.KNOWLEDGE_BASE).symlink_to(PROJECT / layout.KNOWLEDGE_BASE)
    question, gold = "How is community-acquired pneumonia treated, and what tests help?", (
        "Community-acquired pneumonia is first treated with amoxicillin or clarithromycin. Useful tests are chest X-ray and sputum culture."
    )  # fmt: skip
    cases = [
        Case(
            id=f"c{number}", split="train", suite="preference", task="general", group="general", cluster=f"c{number}", entities=("community_acquired_pneumonia",),
            combination="x", template="t", messages=(Message(role="user", content=f"{question} {number}"),), answer=gold, verifier="oracle",
            reference={"disease": "community_acquired_pneumonia", "aspects": ["drugs", "tests"], "population": None},
        )
        for number in range(6)
    ]  # fmt: skip
    write_jsonl(root / layout.TRAIN_CASES, cases)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    tuning = {"steps": 6, "batch_samples": 6, "checkpoint_every": 3, "precision": "float32", "optimiser": {"learning_rate": 3.0e-3, "warmup_steps": 2}}
    params["reward_models"] |= {"prompts": 8, "candidates": 3, "max_new_tokens": 8, "tuning": tuning}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    tokenizer = train_tokenizer([question, gold], vocabulary=512)
    shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=48, context=256)
    store = open_store(root, load_settings(root / "params.yaml"))
    for seed, path in enumerate((layout.BASE, layout.IFT)):
        save_model(create_model(shape, tokenizer=tokenizer, seed=seed), tokenizer, root / f"model-{seed}")
        (root / path).parent.mkdir(exist_ok=True)
        write_reference(root / path, store.publish(root / f"model-{seed}", parent=None))
    return root


def _weights(root: Path, model: str = layout.BASE) -> dict[str, torch.Tensor]:
    return load_file(root / "var" / "store" / read_reference(root / model).key / "model.safetensors")


def _run(root: Path, *launcher: str, stage: str = "pretraining") -> Path:
    """Run the stage in a process of its own, by a launcher where one is named; return the folder of its record."""
    scripts = Path(sys.executable).parent
    done = subprocess.run([*launcher, str(scripts / "quarkmed"), "stage", stage], cwd=root, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("its record:") == 1
    return next((root / "var" / "work" / stage).iterdir())


TORCHRUN = (str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2", "--no-python")


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "optimiser"), [("ddp", "muon"), ("deepspeed", "adamw")])
def test_torchrun_runs_a_stage_on_two_ranks(tmp_path, small_project, strategy, optimiser):
    one = small_project(tmp_path / "one", strategy="single", optimiser=optimiser)
    two = small_project(tmp_path / "two", strategy=strategy, optimiser=optimiser)
    records = [_run(one), _run(two, *TORCHRUN)]
    for name, value in _weights(one).items():
        torch.testing.assert_close(_weights(two)[name], value, rtol=0, atol=1e-5)
    steps = [[entry["step"] for entry in read_record(folder) if entry["kind"] == "metrics"] for folder in records]
    assert steps[0] == steps[1]


@pytest.mark.slow
@pytest.mark.long
def test_torchrun_runs_the_reward_models_on_two_ranks(tmp_path, small_project):
    one, two = (_rewards_project(tmp_path / name, small_project, strategy=strategy) for name, strategy in (("one", "single"), ("two", "fsdp")))
    _run(one, stage="reward_models")
    _run(two, *TORCHRUN, stage="reward_models")
    pairs = [(root / layout.REWARD_PAIRS).read_text() for root in (one, two)]
    assert pairs[0] == pairs[1] != ""  # the two ranks drew what one draws
    for model in (layout.REWARD_HONESTY, layout.REWARD_HELPFULNESS):
        for name, value in _weights(one, model).items():
            torch.testing.assert_close(_weights(two, model)[name], value, rtol=0, atol=1e-5)
    reports = [json.loads((root / layout.REWARD_REPORT).read_text()) for root in (one, two)]
    assert [reports[1][name] == pytest.approx(report, rel=1e-4, abs=1e-5) for name, report in reports[0].items()] == [True, True]


@pytest.mark.parametrize("name", ["curate", "answers"])
def test_a_stage_of_one_process_is_refused(tmp_path, small_project, name):
    with pytest.raises(SettingsError, match=f"stage {name} runs in one process"):
        execute_ranked_stage(name, root=str(small_project(tmp_path, strategy="ddp")))


def test_several_processes_without_a_strategy_are_refused(tmp_path, small_project):
    with pytest.raises(SettingsError, match=r"engine\.strategy is single"):
        execute_ranked_stage("pretraining", root=str(small_project(tmp_path, strategy="single")))
