"""A stage on several processes of this machine, under components/launch/torchrun.py.

What they print goes to the run's log; how they ended stands in the one exit code, what was wrong in the last line that
begins with `quarkmed: `. Told to stop, it passes that on and waits for the checkpoint. It dies with the run: the kernel
sends SIGTERM to torchrun when its parent dies, and the next attempt waits until the last one has let go of its lock.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from components.errors import Preempted, StorageError, UserError
from components.launch.ends import Attempt, Ending, kind_of_exit, said_by
from components.launch.stage_environment import stage_environment
from components.launch.torchrun import PARENT
from components.observing.run_log import log_environment
from components.pipeline.graph import load_graph
from components.pipeline.running import ended_run
from components.training.preemption import GO_ON

LOCK = "var/work/torchrun.lock"
ANSWER_SECONDS = 5  # beyond the grace, for a rank to end; then torchrun kills it
END_SECONDS = 15.0  # beyond that, for torchrun itself
PROGRAM = ("--module", "flows.cli")


class TorchrunBackend:
    """Runs attempts one at a time, each by a torchrun of its own."""

    def __init__(self, root: Path, *, processes: int, log: Path, grace_seconds: float, program: tuple[str, ...] = PROGRAM) -> None:
        """
        Args:
            program: torchrun's arguments before `stage NAME`.
        """
        self.root, self.log = root, log
        self._processes, self._grace_seconds, self._program = processes, grace_seconds, program

    def run(self, attempt: Attempt) -> Ending:
        """Run an attempt to its end.

        Raises:
            Preempted: this process was told to stop meanwhile.
            UserError: an earlier attempt does not end.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock() as lock, self.log.open("ab") as log:
            position = log.tell()
            process = subprocess.Popen(
                self.command(attempt), cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=(lock.fileno(),),
                env={**os.environ, **log_environment(self.log), **stage_environment(), PARENT: str(os.getpid())},
            )  # fmt: skip
            try:
                code = process.wait()
            except BaseException as stop:
                self._stop(process)
                raise Preempted(self._said(position) or f"told to stop; what was saved last is kept: {GO_ON}") from stop
        return self._ending(attempt, code, position)

    def command(self, attempt: Attempt) -> list[str]:
        """Return the command line of an attempt."""
        smaller = ["--micro-divisor", str(attempt.micro_divisor)] if attempt.micro_divisor > 1 else []
        return [
            sys.executable, "-m", "components.launch.torchrun", "--standalone", "--local-addr", "127.0.0.1",
            "--nproc-per-node", str(self._processes), "--shutdown-timeout", str(int(self._grace_seconds) + ANSWER_SECONDS),
            *self._program, "stage", attempt.stage, *smaller,
        ]  # fmt: skip

    def _ending(self, attempt: Attempt, code: int, position: int) -> Ending:
        if code == 0:
            run = ended_run(self.root, load_graph(self.root).row(attempt.stage), attempt.key)
            if run is None:
                return Ending("failed", attempt, f"stage {attempt.stage}: torchrun ended well, but no result of its key stands; its log: {self.log}")
            return Ending("done", attempt, run=run)
        said = self._said(position) or f"stage {attempt.stage}: torchrun ended with exit code {code} and said nothing"
        return Ending(kind_of_exit(code), attempt, f"{said} (log: {self.log})")

    def _said(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return said_by(log.read().decode(errors="replace"))

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(self._grace_seconds + ANSWER_SECONDS + END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _lock(self) -> IO[str]:
        """Return the open lock file, once no earlier torchrun of this folder holds it."""
        path = self.root / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
        deadline = time.monotonic() + self._grace_seconds + ANSWER_SECONDS + END_SECONDS
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return stream
            except BlockingIOError:
                if time.monotonic() > deadline:
                    stream.close()
                    raise UserError(f"{path}: the torchrun of an earlier run still works in this folder; end it, then run again") from None
            except OSError as error:
                stream.close()
                raise StorageError(f"{path}: cannot be locked ({error.strerror}); the file system of this folder must know locks") from None
            time.sleep(0.2)
