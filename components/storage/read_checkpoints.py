"""Checkpoints as the processes beside the one that writes them see them."""

from typing import Any

from components.storage.checkpoints import CheckpointFolder


class ReadCheckpoints(CheckpointFolder):
    """Reads what rank 0 wrote and writes nothing."""

    def child(self, name: str) -> "ReadCheckpoints":
        """Return the checkpoints of a named part of the work."""
        return ReadCheckpoints(self.folder / name, key=f"{self.key}/{name}", keep=self.keep)

    def save(self, step: int, *, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Write nothing."""

    def save_later(self, step: int, *, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Write nothing."""

    def clear(self) -> None:
        """Remove nothing."""
