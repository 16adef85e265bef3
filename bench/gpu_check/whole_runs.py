"""Recipes trained by the command itself: a killed run goes on to the same bits, and each strategy ends with one process's weights.

Several GPUs take a process each. A single one is joined by torchrun all the same: process group, NCCL and sharding are then
those of a cluster, its exchanges those of one rank.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from safetensors.torch import load_file

from bench.gpu_check.agreement import PRECISIONS
from bench.gpu_check.checks import Check
from bench.gpu_check.plan import LIMITS, Plan
from components.errors import QuarkmedError
from components.modeling.models import save_model
from components.recorder import read_record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 600
KILLED_AFTER = 6  # recorded steps; the newest checkpoint is then older
CHECKPOINT_EVERY = 4
RATE = 2e-4
REWARD = '''
def vowels(completions, **columns):
    return [text.count("a") / max(len(text), 1) for text in completions]
'''


@dataclass(frozen=True)
class Runs:
    """A folder with a model, prompts and a reward function, in which recipes are trained."""

    folder: Path

    def recipe(self, name: str, *, steps: int, precision: str = "float32", engine: dict[str, Any] | None = None) -> Path:
        """Write a recipe whose output is the folder `name`; return its path."""
        policy = {
            "steps": steps, "prompts_per_step": 8, "max_new_tokens": 8, "mask_truncated": False, "refill_rounds": 0, "epochs": 1000,
            "checkpoint_every": CHECKPOINT_EVERY, "precision": precision, "optimiser": {"learning_rate": RATE, "warmup_steps": 2, "schedule": "constant"},
        }  # fmt: skip
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({
            "kind": "policy", "model": "start", "data": "prompts.jsonl", "output": name, "reward": "reward.py:vowels", "threads": 1,
            "engine": {key: str(PROJECT / value) if key == "config" else value for key, value in (engine or {}).items()}, "policy": policy,
        }))  # fmt: skip
        return path

    def recorded_steps(self, name: str) -> int:
        """Return how many steps of a run are on record."""
        record = self.folder / name / "record"
        return sum(entry["kind"] == "metrics" for entry in read_record(record)) if (record / "record.jsonl").is_file() else 0

    def gap(self, name: str, other: str) -> float:
        """Return the largest difference of two tuned models' weights."""
        mine, theirs = (load_file(self.folder / run / "model" / "model.safetensors") for run in (name, other))
        return max(float((mine[key] - tensor).abs().max()) for key, tensor in theirs.items())

    def prepare(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> None:
        """Write what the recipes read."""
        save_model(model, tokenizer, self.folder / "start")
        (self.folder / "reward.py").write_text(REWARD)
        (self.folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"what is {number}?"}) + "\n" for number in range(16)))


def check_whole_runs(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", plan: Plan, folder: Path, *, processes: int) -> list[Check]:
    """Train a recipe undisturbed, killed once, and, shorter, by one process and every strategy on `processes`; all at the same time."""
    runs = Runs(folder)
    runs.prepare(model.cpu(), tokenizer)
    strategies = {name: engine for name, engine in plan.strategies.items() if engine["strategy"] != "deepspeed" or importlib.util.find_spec("deepspeed")}
    with ThreadPoolExecutor() as pool:
        pairs = {
            precision: [pool.submit(_train, runs.recipe(f"undisturbed-{precision}", steps=plan.run_steps, precision=precision)),
                        pool.submit(_train_killed, runs, f"killed-{precision}", steps=plan.run_steps, precision=precision)]
            for precision in PRECISIONS
        }  # fmt: skip
        single = pool.submit(_train, runs.recipe("single", steps=plan.strategy_steps))
        ranked = {name: pool.submit(_train, runs.recipe(name, steps=plan.strategy_steps, engine=engine), processes) for name, engine in strategies.items()}
        checks = [
            _compared(
                f"killed and started again, against undisturbed: equal bits, {precision}", pair,
                partial(runs.gap, f"killed-{precision}", f"undisturbed-{precision}"), limit=0.0,
            )
            for precision, pair in pairs.items()
        ]  # fmt: skip
        for name, run in ranked.items():
            title = f"weights by {name}, {processes} process{'es' if processes > 1 else ''}, against one by itself"
            checks.append(_compared(title, [single, run], partial(runs.gap, name, "single"), limit=LIMITS["run weights"]))
    return checks


def _compared(title: str, awaited: "Sequence[Future[None]]", gap: Callable[[], float], *, limit: float) -> Check:
    """Return the check of two runs once they have ended; one that failed is a failed check, with its words."""
    try:
        for run in awaited:
            run.result()
    except QuarkmedError as error:
        return Check(f"{title}: {error}", float("nan"), limit)
    return Check(title, gap(), limit)


def _command(recipe: Path, processes: int) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes else []
    return [sys.executable, *launcher, "-m", "flows.cli", "train", str(recipe)]


def _train(recipe: Path, processes: int = 0) -> None:
    """Train a recipe; `processes` 0: without torchrun.

    Raises:
        QuarkmedError: with the last line the run said.
    """
    with _started(recipe, processes) as process:
        try:
            code = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise QuarkmedError(f"not ended after {TIMEOUT_SECONDS} s") from None
    if code:
        raise QuarkmedError(f"exit code {code}: {_last_words(_log(recipe).read_text().splitlines())}")


@contextlib.contextmanager
def _started(recipe: Path, processes: int) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a recipe's training, its words in a log beside it; at the end nothing that it started runs on."""
    with _log(recipe).open("wb") as log:
        process = subprocess.Popen(_command(recipe, processes), cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _log(recipe: Path) -> Path:
    return recipe.with_suffix(".log")


def _train_killed(runs: Runs, name: str, *, steps: int, precision: str) -> None:
    """Train a recipe whose process is killed in the middle, and train it again."""
    recipe = runs.recipe(name, steps=steps, precision=precision)
    latest = time.monotonic() + TIMEOUT_SECONDS
    with _started(recipe, 0) as process:
        while runs.recorded_steps(name) < KILLED_AFTER:
            if process.poll() is not None:
                raise QuarkmedError(f"the run that was to be killed ended by itself (exit code {process.returncode})")
            if time.monotonic() > latest:
                raise QuarkmedError(f"the run that was to be killed recorded fewer than {KILLED_AFTER} steps in {TIMEOUT_SECONDS} s")
            time.sleep(0.01)
    if runs.recorded_steps(name) >= steps:
        raise QuarkmedError("the run that was to be killed was faster than the kill")
    _train(recipe)


def _last_words(lines: Sequence[str]) -> str:
    said = [line for line in lines if line.strip()]
    own = [line for line in said if line.startswith(("error:", "quarkmed"))]
    return (own or said or ["nothing"])[-1].strip()[:300]
