"""`quarkmed train`: refusals in one message before anything heavy is imported, and the report of a run."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from components.observing.sampler import UsageSampler
from components.recorder import Recorder
from components.settings.recipes import load_recipe
from components.training.recipes.running import RECORD, RecipeRun
from flows.train_command import report, result_line

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "doses" / "recipe.yaml"


def quarkmed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "flows.cli", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT), "PATH": ""})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  steps: 40", "  stps: 40", "recipe.yaml:7: policy.stps: unknown key; did you mean policy.steps?"),
        ("model: ../../../models/ift.json", "model: nowhere", "nowhere: no config.json; name a Hugging Face folder"),
    ],
)
def test_bad_input_is_one_message_with_exit_code_2(tmp_path, old, new, said):
    (tmp_path / "recipe.yaml").write_text(EXAMPLE.read_text().replace(old, new, 1))
    done = quarkmed("train", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]


def test_a_command_without_a_recipe_says_what_to_name(tmp_path):
    done = quarkmed("train", cwd=tmp_path)
    assert done.returncode == 2 and "name a recipe" in done.stderr


def test_preparing_a_recipe_imports_nothing_heavy():
    code = "import sys, flows.train_command; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_mlflow_is_asked_for_in_a_projects_folder_and_answered_for_before_anything_is_trained(tmp_path):
    values = EXAMPLE.read_text().replace("../../../models/ift.json", str(tmp_path / "nowhere"))
    (tmp_path / "recipe.yaml").write_text(values)
    done = quarkmed("train", "recipe.yaml", "--mlflow", cwd=tmp_path)
    assert done.returncode == 2 and "no dvc.yaml and params.yaml here or above" in done.stderr


def test_the_report_says_where_the_time_went(tmp_path):
    recipe = load_recipe(EXAMPLE)
    Recorder(tmp_path / RECORD).warning("reward brief: raised on 3 answers")
    with UsageSampler(tmp_path / RECORD / "usage.jsonl", period_seconds=5):
        pass
    summary = {
        "reward_first": 0.25, "reward_last": 0.75, "unscored_answers": 3.0, "steps_without_signal": 1.0, "sampled_tokens": 3000.0,
        "packed_tokens": 4000.0, "seconds_generate": 3.0, "seconds_score": 1.0, "seconds_reference": 2.0, "seconds_policy": 4.0,
        "seconds_floor_generate": 0.5, "seconds_floor_update": 2.25,
    }  # fmt: skip
    out = io.StringIO()
    report(RecipeRun(recipe, tmp_path, summary, seconds=12.5, was_finished=False), Console(file=out, width=160))
    text = out.getvalue()
    assert "reward 0.250 → 0.750" in text and "3 answers unscored" in text and "1 steps without" in text
    cells = [line.replace("│", " ").split() for line in text.splitlines()]
    rows = {row[0]: row for row in cells if row}
    # 3 s of 12.5 are 24 %, 3000 tokens in 3 s; 4 s of 12.5 are 32 %, 4000 tokens; 2.5 s remain, 20 %
    assert rows["generate"] == ["generate", "3.0", "24%", "1,000"]
    assert rows["policy"] == ["policy", "4.0", "32%", "1,000"]
    assert "2.5" in rows["loading,"] and "20%" in rows["loading,"]
    assert "generate 0.5 s, update 2.2 s" in text  # the floors, which are no part of the time
    assert "note: reward brief: raised on 3 answers" in text
    assert re.search(r"used: \d+ s of processor, \d+ MiB at most", text)


def test_each_kind_has_its_line():
    assert result_line({"validation_loss_first": 2.0, "validation_loss_last": 1.0, "loss": 0.5}) == "validation loss 2.000 → 1.000 nats a token"
    assert result_line({"accuracy": 0.75}) == "accuracy on the training pairs 0.750"
    assert result_line({"loss": 0.5}) == "loss 0.500 nats a token"
