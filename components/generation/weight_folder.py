"""A model's weights handed to an engine of this machine: one safetensors folder a version, whole or not there.

They go to memory (/dev/shm) where there is room for two versions, else to the disk. The former version is removed when
the next one is written, and everything at the end.
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.storage.files import atomic_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MEMORY = Path("/dev/shm")
TIED_HEAD = "lm_head.weight"


class WeightFolder:
    """Where versions of one model's weights are written, the newest only."""

    def __init__(self, *, dtype: "torch.dtype", memory: Path = MEMORY) -> None:
        self.dtype = dtype
        self.memory = memory
        self._base: Path | None = None
        self._newest: Path | None = None

    def write(self, model: "PreTrainedModel", *, version: int) -> Path:
        """Write the weights, cast to the engine's dtype, and return their folder (absolute).

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        from safetensors.torch import save_file

        tensors = engine_tensors(model, dtype=self.dtype)
        if self._base is None:
            self._base = self._place(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        folder = self._base / f"weights-{version:06d}"
        with atomic_folder(folder) as temporary:
            save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        if self._newest not in (None, folder):
            shutil.rmtree(self._newest, ignore_errors=True)
        self._newest = folder
        return folder

    def close(self) -> None:
        """Remove everything written."""
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = self._newest = None

    def _place(self, size: int) -> Path:
        has_room = self.memory.is_dir() and shutil.disk_usage(self.memory).free > 2 * size
        try:
            return Path(tempfile.mkdtemp(prefix="quarkmed-weights-", dir=self.memory if has_room else None)).resolve()
        except PermissionError:
            return Path(tempfile.mkdtemp(prefix="quarkmed-weights-")).resolve()


def engine_tensors(model: "PreTrainedModel", *, dtype: "torch.dtype") -> dict[str, "torch.Tensor"]:
    """Return the model's tensors by their names in a checkpoint, adapters merged; a tied head is left out, as in a checkpoint."""
    from components.modeling.adapters import merged_state

    is_tied = bool(model.config.tie_word_embeddings)
    return {
        name: tensor.detach().to(dtype).contiguous()
        for name, tensor in merged_state(model).items()
        if not (is_tied and name == TIED_HEAD)
    }
