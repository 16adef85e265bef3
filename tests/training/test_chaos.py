"""Killed by SIGKILL at random moments, many times, a run ends with the weights and the record of an undisturbed one.

Half of the kills come at any moment, half while a checkpoint is being written (in the background, as it always is).
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.recorder import read_record

KILLS = 24
FINAL = "final.safetensors"
SERVER = Path(__file__).with_name("chaos_server.py")


@pytest.fixture(scope="module")
def server():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    yield process
    process.stdin.close()
    process.wait(60)


def run(server, kind, folder, *, kill_when=None):
    """Let the server train in a child; `kill_when(folder)` returns when the child is to be killed. Return whether it ended by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    server.stdin.write(f"{kind} {folder}\n")
    server.stdin.flush()
    child = int(server.stdout.readline())
    if kill_when is not None:
        kill_when(folder)
        os.kill(child, signal.SIGKILL)
    server.stdin.write("ended\n")
    server.stdin.flush()
    status = int(server.stdout.readline())
    assert status in (0, signal.SIGKILL), f"the run failed: wait status {status}"
    return status == 0


def metrics(folder):
    """Return (step, values) of every line, without timings."""
    lines = [entry for entry in read_record(folder / "record") if entry["kind"] == "metrics"]
    return [(line["step"], {name: value for name, value in line["values"].items() if not name.startswith("seconds")}) for line in lines]


def at_any_moment(draw):
    """Wait for some of the next lines of the record, then up to a few steps' time."""
    lines, delay = draw.randrange(8), draw.uniform(0.0, 0.03)

    def wait(folder):
        sizes = set()
        while len(sizes) <= lines and not (folder / FINAL).exists():
            with contextlib.suppress(OSError):
                sizes.add((folder / "record" / "record.jsonl").stat().st_size)
            time.sleep(0.001)
        time.sleep(delay)

    return wait


def while_writing(draw):
    """Wait for one of the next checkpoints to be begun, then a little."""
    skipped, delay = draw.randrange(4), draw.uniform(0.0, 0.004)

    def wait(folder):
        seen = set()
        while len(seen) <= skipped and not (folder / FINAL).exists():
            seen |= {path.name for path in (folder / "checkpoints").glob(".step-*.part")}
        time.sleep(delay)

    return wait


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["supervised", "policy"])
def test_killed_at_random_the_run_ends_as_an_undisturbed_one(server, kind, tmp_path):
    whole, cut, draw = tmp_path / "whole", tmp_path / "cut", random.Random(f"chaos/{kind}")
    assert run(server, kind, whole)
    killed = while_it_wrote = 0
    for number in range(KILLS):
        moment = (at_any_moment, while_writing)[number % 2](draw)
        if run(server, kind, cut, kill_when=moment):
            break
        killed += 1
        while_it_wrote += any((cut / "checkpoints").glob(".step-*.part"))
    assert (cut / FINAL).exists() or run(server, kind, cut)
    print(f"{kind}: {killed} kills, {while_it_wrote} of them while a checkpoint was being written")
    assert killed >= 5 and while_it_wrote >= 1
    assert (cut / FINAL).read_bytes() == (whole / FINAL).read_bytes()
    assert metrics(cut) == metrics(whole)
