"""The command line: quick help, clear refusals, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import app, project_root

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "prefect", "mlflow", "dvc", "transformers", "numpy", "pandas", "sqlalchemy")
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


def test_every_command_of_the_issue_is_there():
    assert set(COMMANDS) >= {"retrain", "stage", "plan", "status", "up", "down", "ask", "evaluate"}


def test_help_lists_what_is_used_most_first():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert names[:4] == ["retrain", "stage", "plan", "status"] and names[-2:] == ["train", "size"]


def test_no_help_page_imports_anything_heavy():
    code = (
        "import sys, json\nfrom typer.testing import CliRunner\nfrom flows.cli import app\n"
        f"codes = [CliRunner().invoke(app, [name, '--help']).exit_code for name in {COMMANDS!r}]\n"
        f"print(json.dumps([codes, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[0] * len(COMMANDS), []]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threads: 2", "thread: 2", "run.thread: unknown key; did you mean run.threads?"),
        ("threads: 2", "threads: many", "run.threads: Input should be a valid integer"),
        ("threads: 2", "threads: [", "not valid YAML"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "status", "retrain"])
def test_a_bad_parameter_is_one_message_with_exit_code_2(fake_project, forked, command, old, new, said):
    path = fake_project / "params.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    done = forked(fake_project, "quarkmed", command)
    assert done.returncode == 2
    assert said in done.stderr and "params.yaml:" in done.stderr and "Traceback" not in done.stderr
    assert not (fake_project / "var").exists()


def test_outside_a_project_the_command_says_where_to_go(tmp_path):
    done = subprocess.run([sys.executable, "-m", "flows.cli", "plan"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no dvc.yaml and params.yaml here or above" in done.stderr


def test_a_project_is_found_from_a_folder_inside_it(fake_project, monkeypatch):
    monkeypatch.chdir(fake_project / "data")
    assert project_root() == fake_project


def test_the_plan_says_which_stages_would_run_and_why(fake_project, forked):
    done = forked(fake_project, "quarkmed", "plan")
    assert done.returncode == 0, done.stderr
    for name in ("sources", "ift", "grpo_general", "evaluate"):
        assert name in done.stdout
    assert done.stdout.count("never ran") == 4


def test_a_model_that_was_not_made_yet_is_named(fake_project, forked):
    assert "models/ift.json: not made yet" in forked(fake_project, "quarkmed", "evaluate", "ift").stderr
    assert "no model 'gpt'; models: champion, base" in forked(fake_project, "quarkmed", "evaluate", "gpt").stderr
