"""torchrun, ending with the exit code of the rank that failed instead of 1.

    python -m components.launch.torchrun --nproc-per-node 2 --module flows.cli stage sft

Who started it (a Kubernetes Job's failure policy, a launcher) reads from the code alone what components/errors.py says:
bad input, told to stop, out of memory, diverged. torchrun itself ends with 1 after any of them. Arguments are torchrun's.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from components.errors import EXIT_DIVERGED, EXIT_OUT_OF_MEMORY, EXIT_PREEMPTED, EXIT_USER_ERROR

KNOWN = (EXIT_USER_ERROR, EXIT_PREEMPTED, EXIT_OUT_OF_MEMORY, EXIT_DIVERGED)
PARENT = "QUARKMED_PARENT"  # a variable: the process to die with, which started this one
PR_SET_PDEATHSIG = 1
SIGNAL_BASE = 128  # a shell's exit code of a process that a signal ended: 128 + its number


@dataclass(frozen=True)
class RankFailure:
    """How one rank of this node ended."""

    rank: int
    seconds: int  # since the epoch
    exit_code: int  # below 0: ended by the signal of that number


def exit_code_of(failures: Sequence[RankFailure]) -> int:
    """Return the code to end with: the earliest of those errors.py knows, as the others follow from it; else the earliest."""
    first = min(failures, key=lambda failure: (failure.exit_code not in KNOWN, failure.seconds, failure.rank))
    return first.exit_code if first.exit_code >= 0 else SIGNAL_BASE - first.exit_code


def describe_failures(failures: Sequence[RankFailure]) -> str:
    """Return one line: a pod's status keeps the last 2 KiB of its log, and the rank's own message must be among them."""
    ends = ", ".join(f"{failure.rank} with {failure.exit_code}" for failure in failures)
    return f"torchrun: ranks of this node that failed, each with its exit code: {ends}; this process ends with {exit_code_of(failures)}"[:500]


def main(arguments: Sequence[str]) -> int:
    """Run torchrun on its arguments; return the exit code.

    SIGTERM and SIGINT are passed to the ranks, which save their state within torchrun's `--shutdown-timeout`: 43.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # until torchrun handles them: nothing was begun
        signal.signal(number, lambda *_: os._exit(EXIT_PREEMPTED))
    if os.environ.pop(PARENT, "") == str(os.getppid()):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(list(arguments)))
    except ChildFailedError as error:
        failures = [RankFailure(rank, failure.timestamp, failure.exitcode) for rank, failure in error.failures.items()]
        print(describe_failures(failures), file=sys.stderr)
        return exit_code_of(failures)
    except SignalException as error:
        print(f"torchrun: told to stop ({error.sigval.name}), as were its ranks", file=sys.stderr)
        return EXIT_PREEMPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
