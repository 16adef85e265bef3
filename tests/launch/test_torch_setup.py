"""How torch is set up: what cannot be computed deterministically is refused, and what we compute can."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.launch.torch_setup import CACHES, PRIMITIVES

TRAINING = Path(__file__).parents[1] / "training"
# One process that is set up as a stage's is: what it says of itself, then every training twice, with one thread and with two.
PREPARED = """
import json, os, sys
from pathlib import Path
from components.launch.torch_setup import CACHES, prepare_torch
prepare_torch(1)
import torch
told = {"mode": torch.get_deterministic_debug_mode(), "caches": {name: os.environ[name] for name in CACHES}, "threads": torch.get_num_threads()}
try:
    torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))
except RuntimeError as error:
    told["refused"] = str(error)
print(json.dumps(told), flush=True)
from chaos_server import train
for threads in (1, 2):
    for kind in ("supervised", "policy"):
        for attempt in ("first", "second"):
            train(kind, Path(sys.argv[1]) / kind / str(threads) / attempt, threads=threads, steps=8)
    assert torch.get_num_threads() == threads
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return what the process said of itself, and the folder of its trainings."""
    folder = tmp_path_factory.mktemp("prepared")
    environment = {**{name: value for name, value in os.environ.items() if name not in CACHES}, "OMP_NUM_THREADS": "2", "PYTHONPATH": f"{TRAINING}:{TRAINING.parents[1]}"}
    done = subprocess.run([sys.executable, "-c", PREPARED, str(folder)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0]), folder


def test_what_has_no_deterministic_kernel_is_refused_and_the_caches_are_bounded(prepared):
    told, _ = prepared
    assert (told["mode"], told["threads"]) == (2, 1)  # 2: an error, no warning
    assert set(told["caches"].values()) == {str(PRIMITIVES)}
    assert "does not have a deterministic implementation" in told["refused"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["supervised", "policy"])
def test_training_has_deterministic_kernels_only_and_gives_the_same_bytes_twice(prepared, kind, threads):
    first, second = ((prepared[1] / kind / str(threads) / attempt / "final.safetensors").read_bytes() for attempt in ("first", "second"))
    assert first == second
