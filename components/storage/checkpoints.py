"""Checkpoints of work in progress: tensors and state, written atomically, verified by checksum when loaded.

A checkpoint folder belongs to one key (the digest of everything that determines the stage's result), so a checkpoint
of other parameters or data is never picked up. One checkpoint is one folder `step-<n>` holding `tensors.safetensors`,
`state.json` and, written last, `checksums.json`. `save_later` copies what it is given and writes beside the work that
goes on; what could not be written is raised by the next save, or by `finish`.
"""

import copy
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from components.errors import StorageError
from components.lineage import digest_file
from components.storage.background_writing import BackgroundWriter
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
    """The checkpoints of one piece of work; keeps the newest `keep`. A `with` block ends when everything is written."""

    def __init__(self, folder: Path, *, key: str, keep: int = 2, writer: BackgroundWriter | None = None) -> None:
        self.folder = folder
        self.key = key
        self.keep = keep
        self._writer = writer or BackgroundWriter()

    def child(self, name: str) -> "CheckpointFolder":
        """Return the checkpoints of a named part of the work (a trial, one reward model); they are written one at a time with these."""
        return CheckpointFolder(self.folder / name, key=f"{self.key}/{name}", keep=self.keep, writer=self._writer)

    def save(self, step: int, *, tensors: "dict[str, Tensor]", state: dict[str, Any]) -> None:
        """Write a checkpoint atomically, then drop the ones beyond `keep`.

        Raises:
            StorageError: it, or the one before it, cannot be written.
        """
        self.finish()
        self._write(step, {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, state)

    def newest_step(self) -> int | None:
        """Return the step of the newest checkpoint on disk, unread; None where there is none."""
        self.finish()
        folders = self._folders()
        return int(folders[-1].name.removeprefix("step-")) if folders else None

    def save_later(self, step: int, *, tensors: "dict[str, Tensor]", state: dict[str, Any]) -> None:
        """Copy tensors and state now and do `save` in the background; waits for the one in flight, if there is one.

        Raises:
            StorageError: the one before it cannot be written.
        """
        import torch

        self.finish()
        copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        kept = copy.deepcopy(state)
        self._writer.submit(lambda: self._write(step, copies, kept))

    def finish(self) -> None:
        """Wait until nothing is being written.

        Raises:
            StorageError: what was in flight cannot be written.
        """
        self._writer.finish()

    def __enter__(self) -> "CheckpointFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.finish()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"and a checkpoint was lost: {failure}")

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint (None where none was ever written) and a warning for each damaged one.

        Raises:
            StorageError: checkpoints exist but none is sound, or one belongs to other work. Never a silent fresh start.
        """
        self.finish()
        for torn in self.folder.glob(".step-*.part"):  # of a process killed while it wrote
            shutil.rmtree(torn, ignore_errors=True)
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
        self.finish()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, step: int, tensors: "dict[str, Tensor]", state: dict[str, Any]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        with atomic_folder(self.folder / f"step-{step:08d}") as folder:
            try:
                save_file(tensors, folder / "tensors.safetensors")
            except SafetensorError as error:
                raise OSError(str(error)) from error
            with (folder / "tensors.safetensors").open("rb") as stream:
                os.fsync(stream.fileno())
            write_json(folder / "state.json", {"key": self.key, "step": step, "state": state})
            write_json(folder / CHECKSUMS, {name: digest_file(folder / name) for name in ("tensors.safetensors", "state.json")})
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

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

