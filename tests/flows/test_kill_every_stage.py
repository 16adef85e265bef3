"""Every real stage killed once in the middle of its work: the end is the same bytes as of an undisturbed run.

Two kills end the whole run, as `kill -9` or a dead machine would, and `quarkmed retrain` is called again; the others
end the process the stage runs in, and the run itself goes on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.lineage import digest_file
from components.pipeline.stages import STAGES
from components.tracking.tracking_store import experiment_id, open_client

ENDS_THE_RUN = ("mixture", "grpo_reasoning")
# Stages quick at this scale are killed as soon as their work folder stands, the others once their record shows work.
SHOWS_WORK = ("pretraining", "mixture", "ift", "reward_models", "answers", "sft", "cold_start", "prompts", "grpo_reasoning", "grpo_general", "evaluate")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_once_in_every_stage_the_result_is_that_of_an_undisturbed_run(undisturbed, tmp_path):
    project = tmp_path / "project"
    subprocess.run(["git", "clone", "-q", str(undisturbed), str(project)], check=True)
    waiting, endings = list(STAGES), []
    while not endings or (endings[-1] == -signal.SIGKILL and len(endings) <= len(ENDS_THE_RUN)):
        endings.append(retrain_under_fire(project, waiting))
    said = (project / "said.txt").read_text()
    assert waiting == [], said[-3000:]
    assert endings == [-signal.SIGKILL] * len(ENDS_THE_RUN) + [0], said[-3000:]
    assert results(project) == results(undisturbed)
    assert metrics(project) == metrics(undisturbed)
    leftovers = [path for folder in ("artifacts", "models", "var/store") for path in (project / folder).rglob("*.part")]
    assert leftovers == []


def retrain_under_fire(project: Path, waiting: list[str]) -> int:
    """Run `quarkmed retrain`, killing each waiting stage in its turn (and taking it off the list); return the exit code."""
    with (project / "said.txt").open("a") as said:
        run = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "retrain"], cwd=project, env={**os.environ, "PYTHONPATH": str(project), "DO_NOT_TRACK": "1"},
            stdout=said, stderr=said,
        )  # fmt: skip
    while run.poll() is None:
        if waiting and is_in_the_middle(project, waiting[0]):
            worker = stage_worker(run.pid)
            if worker is not None:
                name = waiting.pop(0)
                worker.kill()
                if name in ENDS_THE_RUN:
                    run.kill()
        time.sleep(0.002)
    return run.wait()


def is_in_the_middle(project: Path, name: str) -> bool:
    folders = list((project / "var" / "work" / name).glob("*"))
    if name not in SHOWS_WORK or not folders:
        return bool(folders)
    with contextlib.suppress(OSError):
        return any(kind in (folders[0] / "record.jsonl").read_text() for kind in ('"metrics"', '"progress"'))
    return False


def stage_worker(run: int) -> psutil.Process | None:
    """Return the process the stages run in: the run's child that logs to stages.log."""
    with contextlib.suppress(psutil.Error, OSError):
        for child in psutil.Process(run).children():
            if os.readlink(f"/proc/{child.pid}/fd/2").endswith("stages.log"):
                return child
    return None


def results(project: Path) -> dict[str, str]:
    """Return {path: digest} of every output of every stage."""
    files = [path for folder in ("artifacts", "models") for path in sorted((project / folder).rglob("*")) if path.is_file()]
    return {path.relative_to(project).as_posix(): digest_file(path) for path in files}


def metrics(project: Path) -> dict[str, dict[str, list[int]]]:
    """Return, for each stage's run in MLflow, {metric: its steps in order}; a step counted twice stands twice.

    What the machine gave (`system/…`) is left out: no two runs agree in it.
    """
    client = open_client(project)
    runs = [run for run in client.search_runs([experiment_id(client, project)]) if "quarkmed.stage" in run.data.tags]
    assert sorted(run.info.run_name for run in runs) == sorted(STAGES)
    return {
        run.info.run_name: {name: sorted(point.step for point in client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics if not name.startswith("system/")}
        for run in runs
    }  # fmt: skip


