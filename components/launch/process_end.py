"""The end of a process that trained: everything but the interpreter's own teardown.

torch's threads in C++ (gloo's, autograd's) may still hold the last reference to a tensor that Python made. One that lets go
of it while the interpreter is being torn down is ended on the spot, and the process with it, by SIGABRT: a rank whose work
was done and saved ended with -6, in some 4 of 100 runs of ZeRO-3 on two processes (torch 2.13; pytorch issue 190489, open).
No order of leaving closes that gap, so the teardown is left out. What stands before it runs as ever: threads are joined,
`atexit` functions called, streams flushed.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable


def leave_out_teardown() -> Callable[[int], None]:
    """Let this process end without teardown; return a function to be told the exit code.

    To be called first: `atexit` calls last what was registered first. A process whose code was never told ends as ever.
    """
    told: list[int] = []

    def end() -> None:
        if not told:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more, or it is closed: no reason to end otherwise
                stream.flush()
        os._exit(told[-1])

    atexit.register(end)
    return told.append
