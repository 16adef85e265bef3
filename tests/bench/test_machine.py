"""What is measured on a processor is measured there on a machine with GPUs too."""

import importlib
import os

import pytest

from components.errors import DataError

REACHED = {"training": "bench.training.bench.run_bench", "parity": "bench.parity.__main__.compare", "samples": "bench.samples.measuring.measure"}


@pytest.mark.parametrize("name", sorted(REACHED))
def test_a_bench_of_the_processor_keeps_gpus_out(name, monkeypatch):
    seen = []

    def measured(*_, **__):
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        raise DataError("enough seen")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("sys.argv", [f"bench.{name}", "--quick"])
    monkeypatch.setattr(REACHED[name], measured)
    monkeypatch.setattr("components.launch.torch_setup.prepare_torch", lambda threads: None)
    assert importlib.import_module(f"bench.{name}.__main__").main() == 2
    assert seen == [""]
