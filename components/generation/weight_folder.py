"""A model's weights handed to an engine of this machine: one safetensors folder a version, whole or not there.

They go to memory (/dev/shm) where there is room for two versions, else to the disk. The former version is removed when
the next one is written, and everything when the folder is closed, forgotten or its process exits. What a killed process
left is removed by the next that writes there: its lock is free then, and the kernel frees it however the process ended.
"""

import contextlib
import fcntl
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING

from components.storage.files import atomic_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from components.generation.engine_requests import Engine

MEMORY = Path("/dev/shm")
PREFIX = "quarkmed-weights-"
LOCK = "owner.lock"
TIED_HEAD = "lm_head.weight"


class WeightFolder:
    """Where versions of one model's weights are written, the newest only."""

    def __init__(self, *, dtype: "torch.dtype", memory: Path = MEMORY) -> None:
        self.dtype = dtype
        self.memory = memory
        self._base: Path | None = None
        self._newest: Path | None = None
        self._removal: weakref.finalize | None = None

    def write(self, model: "PreTrainedModel", *, version: int) -> Path:
        """Write the weights, cast to the engine's dtype, and return their folder (absolute).

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        from safetensors.torch import save_file

        tensors = engine_tensors(model, dtype=self.dtype)
        if self._base is None:
            self._base = self._place(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
            self._removal = weakref.finalize(self, _remove, self._base, _locked(self._base / LOCK))
        folder = self._base / f"weights-{version:06d}"
        with atomic_folder(folder) as temporary:
            save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        if self._newest not in (None, folder):
            shutil.rmtree(self._newest, ignore_errors=True)
        self._newest = folder
        return folder

    def hand_over(self, model: "PreTrainedModel", *, version: int, engine: "Engine") -> None:
        """Write the weights and have the engine read them in place of its own.

        Raises:
            ServiceError: the engine failed or took too long.
            StorageError: the disk is full or cannot be written.
        """
        engine.call_workers("reload_weights", {"weights_path": str(self.write(model, version=version))})

    def close(self) -> None:
        """Remove everything written."""
        if self._removal is not None:
            self._removal()
            self._base = self._newest = self._removal = None

    def _place(self, size: int) -> Path:
        parents = [Path(tempfile.gettempdir())]
        if self.memory.is_dir():
            remove_abandoned(self.memory)
            if shutil.disk_usage(self.memory).free > 2 * size:
                parents.insert(0, self.memory)
        remove_abandoned(parents[-1])
        try:
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parents[0])).resolve()
        except PermissionError:
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parents[-1])).resolve()


def remove_abandoned(parent: Path) -> None:
    """Remove weight folders whose process has ended without removing them."""
    for path in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), path.open("rb") as lock:  # another user's, or held: it is in use
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)


def _locked(path: Path) -> IO[bytes]:
    lock = path.open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _remove(folder: Path, lock: IO[bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()


def engine_tensors(model: "PreTrainedModel", *, dtype: "torch.dtype") -> dict[str, "torch.Tensor"]:
    """Return the model's tensors by their names in a checkpoint, adapters merged; a tied head is left out, as in a checkpoint."""
    from components.modeling.adapters import merged_state

    is_tied = bool(model.config.tie_word_embeddings)
    return {
        name: tensor.detach().to(dtype).contiguous()
        for name, tensor in merged_state(model).items()
        if not (is_tied and name == TIED_HEAD)
    }
