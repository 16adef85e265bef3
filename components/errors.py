"""Every error the system raises on purpose, and the exit code each class ends a process with.

    QuarkmedError
    ├── UserError                2   bad input: fix it, never retried
    │   ├── SettingsError            params.yaml, a profile or an override
    │   ├── DataError                a malformed line, a missing file
    │   └── ServiceError             a port taken, a service that does not answer
    ├── Preempted               43   told to stop (SIGTERM): checkpointed, go on later
    ├── OutOfMemory             44   once more with a smaller micro-batch
    ├── Diverged                45   NaN or loss spike: stopped at the last good state
    ├── InfrastructureError     46   machines, cluster or network failed, more often than is tried again
    └── StorageError             2   a damaged or foreign checkpoint, a failed checksum, a full disk

A message says what was wrong (value, file:line or parameter key), why it matters and what to do.
"""

from collections.abc import Mapping

EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 43
EXIT_OUT_OF_MEMORY = 44
EXIT_DIVERGED = 45
EXIT_INFRASTRUCTURE = 46


class QuarkmedError(Exception):
    """Root of the tree; `exit_code` is what the process that meets it ends with."""

    exit_code = 1


class UserError(QuarkmedError):
    """The input is wrong; running again without a change cannot help."""

    exit_code = EXIT_USER_ERROR


class SettingsError(UserError):
    """A parameter is unknown, mistyped or out of range."""


class DataError(UserError):
    """A source, case or sample file is missing or malformed; the message starts with file:line."""


class ServiceError(UserError):
    """A local service cannot start or does not answer."""


class StorageError(QuarkmedError):
    """A stored object is missing, damaged or foreign, or cannot be written."""

    exit_code = EXIT_USER_ERROR


class Preempted(QuarkmedError):
    """Asked to stop; the state was checkpointed first."""

    exit_code = EXIT_PREEMPTED


class OutOfMemory(QuarkmedError):
    """The device's memory was exhausted."""

    exit_code = EXIT_OUT_OF_MEMORY


class Diverged(QuarkmedError):
    """Training left the region where its numbers mean anything; `values` are the numbers of the step, where they are known."""

    exit_code = EXIT_DIVERGED

    def __init__(self, message: str, *, values: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.values = dict(values or {})


class InfrastructureError(QuarkmedError):
    """What a stage runs on failed, not the stage: a node, a pod's image, the cluster's API."""

    exit_code = EXIT_INFRASTRUCTURE


def is_told_to_stop(error: BaseException) -> bool:
    """Say whether an exception means that this process was told to stop: a preemption, Ctrl-C, or Prefect's own; not a failure."""
    return isinstance(error, Preempted) or not isinstance(error, Exception)
