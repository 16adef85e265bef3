"""A whole run whose stages are jobs: killed in the middle, the next run takes over the job that is still at work."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from components.launch.gpu_hours import open_ledger

POD = {"image": "trainer:1", "cpus": 2, "memory_gibibytes": 4}
STAGE = """
import sys, time, pathlib
from components.errors import QuarkmedError
from components.pipeline.running import execute_stage
name = sys.argv[1]
print("begun", name, flush=True)
while name == "ift" and not pathlib.Path("go").exists():
    time.sleep(0.02)
try:
    execute_stage(name, root=".", table="fake_stages:STAGES")
except QuarkmedError as error:
    print(f"quarkmed: {error}")
    sys.exit(error.exit_code)
"""


def start(project: Path, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "retrain.py", "--stages-only", run], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_runs_job_is_taken_over_by_the_next(fake_project, api_server):
    server = api_server(fake_project)
    made = []

    def program(job, index):
        made.append(job["metadata"]["labels"]["quarkmed/stage"])
        return [sys.executable, "-c", STAGE, made[-1]]

    server.pods.program = program
    (fake_project / "pods.yaml").write_text(yaml.safe_dump(POD))
    values = yaml.safe_load((fake_project / "params.yaml").read_text())
    cluster = {"address": server.address, "namespace": "n", "pods": str(fake_project / "pods.yaml"), "mount": str(fake_project), "look_seconds": 0.2}
    values["launch"] = {"backend": "kubernetes", "stages": {"evaluate": "local"}, "cluster": cluster}
    (fake_project / "params.yaml").write_text(yaml.safe_dump(values))
    try:
        first = start(fake_project, "first")
        wait_for(lambda: made == ["sources", "ift"])
        time.sleep(0.5)
        first.kill()
        assert "sources ran" in first.communicate()[0]
        second = start(fake_project, "second")
        wait_for(lambda: server.calls.count("POST /apis/batch/v1/namespaces/n/jobs") == 3)  # the third finds the second's job
        (fake_project / "go").touch()
        said = second.communicate(timeout=120)[0]
    finally:
        server.stop()
    assert second.returncode == 0, said
    assert [line for line in said.splitlines() if line.split()[0] in ("sources", "ift", "grpo_general", "evaluate")] == [
        "sources skipped", "ift ran", "grpo_general ran", "evaluate ran",
    ]  # fmt: skip
    assert made == ["sources", "ift", "grpo_general"]
    assert json.loads((fake_project / "models" / "grpo_general.json").read_text())["parent"]
    pods = [(pod.run, pod.stage) for pod in open_ledger(fake_project).pods()]
    assert pods == [("first", "sources"), ("first", "ift"), ("second", "grpo_general")]
