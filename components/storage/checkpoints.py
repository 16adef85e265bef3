"""Checkpoints of work in progress: tensors and state, written atomically, verified by checksum when loaded.

A checkpoint folder belongs to one key (the digest of everything that determines the stage's result), so a checkpoint
of other parameters or data is never picked up. One checkpoint is one folder `step-<n>` holding `tensors.safetensors`,
`state.json` and, written last, `checksums.json`.
"""

import base64
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import StorageError
from components.lineage import digest_file
from components.storage.files import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUMS = "checksums.json"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: flat named tensors and a JSON state."""

    step: int
    tensors: "dict[str, Tensor]"
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints of one piece of work; keeps the newest `keep`."""

    def __init__(self, folder: Path, *, key: str, keep: int = 2) -> None:
        self.folder = folder
        self.key = key
        self.keep = keep

    def child(self, name: str) -> "CheckpointFolder":
        """Return the checkpoints of a named part of the work (a trial, one reward model)."""
        return CheckpointFolder(self.folder / name, key=f"{self.key}/{name}", keep=self.keep)

    def save(self, step: int, *, tensors: "dict[str, Tensor]", state: dict[str, Any]) -> None:
        """Write a checkpoint atomically, then drop the ones beyond `keep`."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        with atomic_folder(self.folder / f"step-{step:08d}") as folder:
            try:
                save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, folder / "tensors.safetensors")
            except SafetensorError as error:
                raise OSError(str(error)) from error
            write_json(folder / "state.json", {"key": self.key, "step": step, "state": state})
            write_json(folder / CHECKSUMS, {name: digest_file(folder / name) for name in ("tensors.safetensors", "state.json")})
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint (None where none was ever written) and a warning for each damaged one.

        Raises:
            StorageError: checkpoints exist but none is sound, or one belongs to other work. Never a silent fresh start.
        """
        warnings: list[str] = []
        folders = self._folders()
        for folder in reversed(folders):
            problem = self._problem(folder)
            if problem is None:
                return self._load(folder), warnings
            warnings.append(f"{folder}: {problem}; using the one before")
        if folders:
            raise StorageError(f"{self.folder}: no checkpoint is sound ({warnings[0]}); delete the folder to start this work anew")
        return None, warnings

    def clear(self) -> None:
        """Remove every checkpoint of this work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-????????")) if self.folder.is_dir() else []

    def _problem(self, folder: Path) -> str | None:
        checksums = folder / CHECKSUMS
        if not checksums.is_file():
            return "has no checksums"
        try:
            expected = read_json(checksums)
            for name, digest in expected.items():
                if not (folder / name).is_file() or digest_file(folder / name) != digest:
                    return f"{name} is damaged"
            found = read_json(folder / "state.json")["key"]
        except (StorageError, KeyError, AttributeError):
            return "is damaged"
        if found != self.key:
            raise StorageError(f"{folder}: belongs to other work (key {found[:12]}, expected {self.key[:12]}); delete it to start anew")
        return None

    def _load(self, folder: Path) -> Checkpoint:
        from safetensors.torch import load_file

        record = read_json(folder / "state.json")
        return Checkpoint(step=record["step"], tensors=load_file(folder / "tensors.safetensors"), state=record["state"])


def rng_state() -> dict[str, str]:
    """Return the state of torch's CPU generator as text for a checkpoint's state."""
    import torch

    return {"torch_cpu": base64.b64encode(bytes(torch.get_rng_state().tolist())).decode()}


def restore_rng_state(state: dict[str, str]) -> None:
    """Put torch's CPU generator back to a state from `rng_state`."""
    import torch

    torch.set_rng_state(torch.tensor(list(base64.b64decode(state["torch_cpu"])), dtype=torch.uint8))
