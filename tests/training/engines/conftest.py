"""Two real processes (gloo) for the engines' tests, and the same runs in this process."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("ranked_runs.py")


@pytest.fixture(scope="session")
def run_on_two_ranks() -> Callable[[Path, list[dict[str, Any]]], None]:
    """Return a function that does jobs (see ranked_runs.py) on two processes in a folder and fails with their words."""

    def run(folder: Path, jobs: list[dict[str, Any]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "jobs.json").write_text(json.dumps(jobs))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        logs = [folder / f"rank{rank}.log" for rank in range(2)]
        processes = []
        for rank, log in enumerate(logs):
            environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as stream:
                command = [sys.executable, str(SCRIPT), str(folder / "jobs.json")]
                processes.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, cwd=SCRIPT.parents[3]))
        try:
            codes = _codes(processes)
        finally:
            for process in processes:
                process.kill()
        assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)

    return run


def _codes(processes: list[subprocess.Popen[bytes]]) -> list[int | None]:
    """Wait until all have ended, or one has failed: the others would wait for it."""
    while True:
        codes = [process.poll() for process in processes]
        if None not in codes or any(codes):
            return codes
        time.sleep(0.1)


@pytest.fixture(scope="session")
def run_here() -> Callable[[Path, list[dict[str, Any]]], None]:
    """Return a function that does jobs in this process, by `TorchEngine` with one rank."""

    def run(folder: Path, jobs: list[dict[str, Any]]) -> None:
        specification = importlib.util.spec_from_file_location("ranked_runs", SCRIPT)
        assert specification and specification.loader
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        folder.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            module.run_job({**job, "engine": {}}, folder, is_main=True)
        torch.set_num_threads(threads)

    return run


@pytest.fixture(scope="session")
def comparison() -> Any:
    """Return the module of what is compared."""
    specification = importlib.util.spec_from_file_location("comparison", SCRIPT.with_name("comparison.py"))
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
