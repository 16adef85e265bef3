"""One attempt at a stage, how it ended, and what is done about each kind of end. The one table is that of components/errors.py.

| ended with | kind | then |
|---|---|---|
| 0 | done | the next stage |
| 2 | user error | stop: running again without a change cannot help |
| 43 | preempted | again: it goes on from its checkpoint |
| 44, or killed by the kernel for want of memory | out of memory | once more, with passes of half the tokens |
| 45 | diverged | stop at the last good state |
| 46, a signal from outside, no exit code at all | infrastructure | wait, then again |
| anything else | failed | stop: a mistake in the code, whose traceback is in the log |
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from components.errors import (
    EXIT_DIVERGED,
    EXIT_INFRASTRUCTURE,
    EXIT_OUT_OF_MEMORY,
    EXIT_PREEMPTED,
    EXIT_USER_ERROR,
    Diverged,
    InfrastructureError,
    OutOfMemory,
    Preempted,
    QuarkmedError,
    UserError,
)
from components.pipeline.running import StageRun

Kind = Literal["done", "user error", "preempted", "out of memory", "diverged", "infrastructure", "failed"]

KINDS: dict[int, Kind] = {
    0: "done", EXIT_USER_ERROR: "user error", EXIT_PREEMPTED: "preempted", EXIT_OUT_OF_MEMORY: "out of memory",
    EXIT_DIVERGED: "diverged", EXIT_INFRASTRUCTURE: "infrastructure",
}  # fmt: skip
ERRORS: dict[Kind, type[QuarkmedError]] = {
    "user error": UserError, "preempted": Preempted, "out of memory": OutOfMemory, "diverged": Diverged,
    "infrastructure": InfrastructureError, "failed": QuarkmedError,
}  # fmt: skip
SIGNALLED = (129, 130, 137, 143)  # hung up, interrupted, killed, terminated: from outside; a crash of its own (139, 134) is not
SAYS = "quarkmed: "  # how a failing process begins its one message


@dataclass(frozen=True)
class Attempt:
    """One try at a stage.

    Attributes:
        key: the stage's key, 64 hexadecimal digits.
        number: from 1.
        micro_divisor: what micro_tokens is divided by; above 1 once memory was exhausted.
    """

    stage: str
    key: str
    number: int = 1
    micro_divisor: int = 1


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        attempt: the one that ended; not the one asked for, where a running one was taken over.
        message: in words, with what to do; "" where all is well.
        run: of an attempt that is done.
        error: what to raise in place of the kind's own class, where the very error is at hand.
    """

    kind: Kind
    attempt: Attempt
    message: str = ""
    run: StageRun | None = None
    error: QuarkmedError | None = None

    def as_error(self) -> QuarkmedError:
        """Return the error a run ends with."""
        return self.error or ERRORS[self.kind](self.message)


class StageBackend(Protocol):
    """Somewhere stages run. `run` waits for the end; being told to stop meanwhile, it stops the stage and raises Preempted."""

    def run(self, attempt: Attempt) -> Ending:
        """Run an attempt to its end, or take over one that is at work on the same key.

        Raises:
            QuarkmedError: Preempted where this process was told to stop; a UserError where the backend itself is set up wrong.
        """


def kind_of_exit(code: int) -> Kind:
    """Return the kind of a process's exit code; below 0, as subprocess has it, the number of the signal that ended it."""
    code = 128 - code if code < 0 else code
    return KINDS.get(code, "infrastructure" if code in SIGNALLED else "failed")


def kind_of_error(error: QuarkmedError) -> Kind:
    """Return the kind of an error that a stage raised."""
    return KINDS.get(error.exit_code, "failed")


def said_by(text: str) -> str:
    """Return the last message of a failed `quarkmed` command within its output; "" where it said none."""
    lines = [line.partition(SAYS)[2].strip() for line in text.splitlines() if line.startswith(SAYS)]
    return lines[-1] if lines else ""
