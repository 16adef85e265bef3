"""What the engines' tests compare of two folders of runs."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from components.recorder import read_record


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def metrics(folder: Path, name: str) -> list[tuple[int, dict[str, float]]]:
    lines = [entry for entry in read_record(folder / name) if entry["kind"] == "metrics"]
    return [(line["step"], {key: value for key, value in line["values"].items() if not key.startswith("seconds")}) for line in lines]


def assert_near(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, tolerance: float = 1e-5, cancelled: float | None = None) -> None:
    """Compare weights; `cancelled` is the tolerance of one element in a thousand.

    AdamW's first steps divide a gradient by its own size: where the parts of one nearly cancel, their rounding, which the order
    of a sum decides, becomes a share of a whole step.
    """
    assert set(actual) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=cancelled or tolerance, msg=lambda text, name=name: f"{name}: {text}")
        beyond = int(((actual[name] - value).abs() > tolerance).sum())
        assert beyond <= value.numel() // 1000, f"{name}: {beyond} of {value.numel()} elements differ by more than {tolerance}"
