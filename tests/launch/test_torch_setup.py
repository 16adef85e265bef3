"""How torch is set up: what cannot be computed deterministically is refused, and what we compute can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[1] / "training"
TWICE = """
import sys
from pathlib import Path
from chaos_server import train
for kind in ("supervised", "policy"):
    for attempt in ("first", "second"):
        train(kind, Path(sys.argv[1]) / kind / attempt, threads=int(sys.argv[2]), steps=8)
"""
REFUSED = """
from components.launch.torch_setup import CACHES, PRIMITIVES, prepare_torch
prepare_torch(1)
import os, torch
assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
assert {os.environ[name] for name in CACHES} == {str(PRIMITIVES)}
try:
    torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))
except RuntimeError as error:
    assert "does not have a deterministic implementation" in str(error)
else:
    raise AssertionError("accepted")
"""


def run(code: str, *arguments: str, threads: int = 1) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(TRAINING)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_what_has_no_deterministic_kernel_is_refused_and_the_caches_are_bounded():
    run(REFUSED)


@pytest.mark.parametrize("threads", [1, 2])
def test_training_has_deterministic_kernels_only_and_gives_the_same_bytes_twice(tmp_path, threads):
    run(TWICE, str(tmp_path), str(threads), threads=threads)
    for kind in ("supervised", "policy"):
        first, second = ((tmp_path / kind / attempt / "final.safetensors").read_bytes() for attempt in ("first", "second"))
        assert first == second
