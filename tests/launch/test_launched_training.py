"""A real training stage as a job: two pods that meet over gloo by the rendered commands, one of them drained in the middle.

Where it runs never changes what it makes: the model is that of one process in the run's warm worker, to 1e-5.
"""

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from components import layout
from components.launch.launcher import RoutingLauncher
from components.observing.run_log import read_logs
from components.pipeline.graph import load_graph
from components.pipeline.stage_key import stage_inputs, stage_key
from components.recorder import read_record
from components.settings.settings import load_settings
from components.storage.artifact_store import read_reference

POD = {"image": "trainer:1", "cpus": 2, "memory_gibibytes": 4}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train(root: Path, launch: dict) -> tuple[dict[str, torch.Tensor], list[int], list[str]]:
    """Run the stage by a launcher; return the weights, the recorded steps and the run's notes."""
    settings = load_settings(root / "params.yaml", overrides={"launch": launch})
    told: list[str] = []
    launcher = RoutingLauncher(root, run="run-1", settings=settings, log=root / "log.txt", tell=told.append)
    key = stage_key(stage_inputs(root, load_graph(root).row("pretraining"), settings))
    try:
        done = launcher.run_stage("pretraining", key)
    finally:
        launcher.close()
    assert done.key == key
    weights = load_file(root / "var" / "store" / read_reference(root / layout.BASE).key / "model.safetensors")
    return weights, [entry["step"] for entry in read_record(Path(done.folder)) if entry["kind"] == "metrics"], told


@pytest.mark.slow
@pytest.mark.long
def test_two_pods_of_which_one_is_drained_make_what_one_process_makes(tmp_path, small_project, api_server):
    alone, root = small_project(tmp_path / "alone", strategy="single"), small_project(tmp_path / "pods", strategy="ddp")
    for folder in (alone, root):
        values = yaml.safe_load((folder / "params.yaml").read_text())
        values["pretraining"]["steps"] = 40
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
    expected, expected_steps, _ = train(alone, {"backend": "local"})
    (root / "pods.yaml").write_text(yaml.safe_dump(POD))
    server = api_server(root)
    server.pods.port = free_port()  # pod 0's own address would leave 29500 free; here all pods share one
    threading.Thread(target=drain_in_the_middle, args=(root, server), daemon=True).start()
    try:
        cluster = {"address": server.address, "namespace": "n", "pods": str(root / "pods.yaml"), "mount": str(root), "nodes": 2}
        weights, steps, told = train(root, {"backend": "kubernetes", "cluster": cluster})
        attempts = [[pod.process.returncode for pod in pods] for pods in server.pods.pods.values()]
    finally:
        server.stop()
    assert attempts == [[43, 43], [0, 0]]  # the pod that was not drained stops at the same step
    assert len(told) == 1 and "(preempted: job" in told[0] and "told to stop: saved after step" in told[0]
    assert steps == expected_steps
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    assert "pretraining:" in (root / "log.txt").read_text()  # what the first pod printed
    logged = [(line["process"], line["rank"], line["run"], line["event"]) for line in read_logs(root / "runs" / "run-1" / "logs")]
    for process, rank in (("stages", 0), ("stages-rank-1", 1)):
        assert [event for *who, event in logged if who == [process, rank, "run-1"] and event.startswith("stage ")] == ["stage began", "stage stopped", "stage began", "stage ended"]


def drain_in_the_middle(root: Path, server: Any) -> None:
    """Drain the pod's node once its stage's record shows three steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if any(path.read_text().count('"metrics"') >= 3 for path in (root / "var/work/pretraining").glob("*/record.jsonl")):
                (name,) = server.pods.pods
                server.pods.preempt(name)
                return
        time.sleep(0.005)
