"""A warm local process that runs functions for us, one after another; imports are paid once.

It dies with its parent: its stdin ends, and (where a main thread started it) the kernel kills it.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from components.errors import Preempted, QuarkmedError
from components.launch.failures import rebuild_failure
from components.observing.run_log import log_environment

STOP_SECONDS = 20.0
GRACE_SECONDS = 20.0
ANSWER_SECONDS = 5.0  # beyond the grace, for the answer and the process's end


class WorkerDied(QuarkmedError):
    """The process ended without an answer: killed from outside, mostly for want of memory."""


class LocalProcess:
    """One worker process; `submit` hands it a request, `result` waits for the answer, `call` does both."""

    def __init__(self, root: Path, *, log: Path, environment: dict[str, str] | None = None, niceness: int = 0, grace_seconds: float = GRACE_SECONDS) -> None:
        """Args: grace_seconds: what a training step and its checkpoint may take when the process is told to stop."""
        self.root = root
        self.log = log
        self._environment = {**os.environ, **log_environment(log), **(environment or {})}
        self._niceness = niceness
        self._grace_seconds = grace_seconds
        self._process: subprocess.Popen[str] | None = None
        self._answers: IO[str] | None = None
        self._numbers = itertools.count(1)
        self._ready: dict[int, dict[str, Any]] = {}
        self._unanswered: set[int] = set()

    @property
    def is_busy(self) -> bool:
        """Whether it runs and has not answered everything, as far as answers were read."""
        return self.is_alive and bool(self._unanswered)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's id, None where it was never started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process; returns at once, its imports go on meanwhile."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        read_fd, write_fd = os.pipe()
        command = [sys.executable, "-u", "-m", "components.launch.worker", str(write_fd), str(self._grace_seconds)]
        if threading.current_thread() is threading.main_thread():
            command.append("--main-thread")
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                command, cwd=self.root, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, pass_fds=(write_fd,),
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        os.close(write_fd)
        self._answers = os.fdopen(read_fd, encoding="utf-8")
        self._ready, self._unanswered = {}, set()
        if self._niceness:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)

    def submit(self, function: str, **arguments: Any) -> int:
        """Hand over a request ("module:name" and JSON arguments), starting the process where it is not alive; return its number."""
        if not self.is_alive:
            self.close()
            self.start()
        assert self._process is not None and self._process.stdin is not None
        number = next(self._numbers)
        try:
            self._process.stdin.write(json.dumps({"id": number, "function": function, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        self._unanswered.add(number)
        return number

    def result(self, number: int) -> Any:
        """Wait for a request's answer and return its value.

        Raises:
            QuarkmedError: the class the function raised; WorkerDied where the process ended without an answer.
        """
        assert self._answers is not None
        while number not in self._ready:
            if not self._read_answer():
                raise self._death()
        answer = self._ready.pop(number)
        if "error" in answer:
            raise rebuild_failure(answer, log=str(self.log))
        return answer["value"]

    def call(self, function: str, **arguments: Any) -> Any:
        """Submit a request and wait for it."""
        return self.result(self.submit(function, **arguments))

    def preempt(self) -> str | None:
        """Tell the process to stop (SIGTERM) and wait for its end; SIGKILL where it outlasts its grace.

        Returns:
            What its work said of where it stopped; None where it said nothing.
        """
        process = self._process
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(self._grace_seconds + ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        while self._read_answer():
            pass
        stopped = [answer["message"] for answer in self._ready.values() if answer.get("error") == Preempted.__name__]
        return stopped[-1] if stopped else None

    def close(self) -> None:
        """End the process; SIGKILL where the end of its input does not end it within `STOP_SECONDS`."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(BrokenPipeError, OSError):
            if process.stdin is not None:
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()
        if self._answers is not None:
            self._answers.close()
            self._answers = None

    def _read_answer(self) -> bool:
        """Wait for the next answer and keep it; False where the process ended without one."""
        assert self._answers is not None
        line = self._answers.readline()
        if not line.endswith("\n"):
            return False
        answer = json.loads(line)
        self._ready[answer["id"]] = answer
        self._unanswered.discard(answer["id"])
        return True

    def _death(self) -> WorkerDied:
        code = self._process.wait() if self._process is not None else 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = "; often the kernel short of memory: lower micro_tokens in params.yaml" if code == -signal.SIGKILL else ""
        return WorkerDied(f"the worker process ended without an answer ({how}){hint}; its log: {self.log}")
