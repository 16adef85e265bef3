"""Run stages in one warm local process.

A change of the code since the process started means a new process, so that a stage never runs code other than the
bytes its key was made from. A process that dies is replaced once: the stage goes on from its last checkpoint.
"""

import os
from pathlib import Path
from typing import Any

from components.errors import Preempted, QuarkmedError, is_told_to_stop
from components.launch.ends import Attempt, Ending, kind_of_error
from components.launch.local_process import GRACE_SECONDS, LocalProcess, WorkerDied
from components.launch.stage_environment import stage_environment
from components.pipeline.running import STAGE_TABLE, StageRun
from components.training.preemption import GO_ON

PRELOAD = ("transformers.models.qwen3.modeling_qwen3", "safetensors.torch")


class StageLauncher:
    """The backend `local`; `function_call` runs anything else that needs the warm process (scoring a champion)."""

    def __init__(self, root: Path, *, threads: int, log: Path, table: str = STAGE_TABLE, preload: tuple[str, ...] = PRELOAD, grace_seconds: float = GRACE_SECONDS) -> None:
        self.root = root
        self.table = table
        self._threads = threads
        self._preload = preload
        environment = {**stage_environment(), "OMP_NUM_THREADS": str(threads)}
        self._process = LocalProcess(root, log=log, environment=environment, grace_seconds=grace_seconds)
        self._stamp: int | None = None

    def warm_up(self) -> None:
        """Start the process and let it import; returns at once."""
        self._stamp = _code_stamp(self.root)
        self._process.start()
        self._process.submit("components.launch.torch_setup:prepare_torch", threads=self._threads, preload=self._preload)

    def run(self, attempt: Attempt) -> Ending:
        """Run an attempt at a stage to its end.

        Raises:
            Preempted: this process, or the warm one, was told to stop.
            WorkerDied: the warm process died twice.
        """
        arguments = {"name": attempt.stage, "root": str(self.root), "table": self.table, "micro_divisor": attempt.micro_divisor}
        try:
            done = self.function_call("components.pipeline.running:execute_stage", **arguments)
        except (Preempted, WorkerDied):
            raise
        except QuarkmedError as error:
            return Ending(kind_of_error(error), attempt, str(error), error=error)
        return Ending("done", attempt, run=StageRun(**done))

    def function_call(self, function: str, **arguments: Any) -> Any:
        """Run "module:name" in the warm process; once more in a new one where the process dies.

        Raises:
            Preempted: this process was told to stop meanwhile; what the warm process was at is saved first.
        """
        if not self._process.is_alive or self._stamp != _code_stamp(self.root):
            self.close()
            self.warm_up()
        try:
            return self._call(function, **arguments)
        except WorkerDied:
            self.close()
            self.warm_up()
            return self._call(function, **arguments)

    def _call(self, function: str, **arguments: Any) -> Any:
        try:
            return self._process.call(function, **arguments)
        except BaseException as stop:
            if not (is_told_to_stop(stop) and self._process.is_busy):
                raise
            raise Preempted(self._process.preempt() or f"told to stop; what was saved last is kept: {GO_ON}") from stop

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _code_stamp(root: Path) -> int:
    """Return a number that changes when any source file below components/ does."""
    stamps = []
    for folder, folders, files in os.walk(root / "components"):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith((".py", ".j2", ".json", ".jinja")):
                status = os.stat(os.path.join(folder, name))
                stamps.append((folder, name, status.st_mtime_ns, status.st_size))
    return hash(tuple(stamps))
