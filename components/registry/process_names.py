"""A name of a process that is not used again, and whether the process of a name still runs.

Host, process id and start time: a recycled id is another name. A process of another host cannot be looked at from here.
"""

import os
import socket
from typing import Literal

import psutil

State = Literal["alive", "dead", "elsewhere"]


def process_name() -> str:
    """Return this process's name: host, pid and start time."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def process_state(name: str) -> State:
    """Say how the process of a name stands; what is no name counts as dead."""
    host, _, rest = name.partition(":")
    pid, _, started = rest.partition(":")
    if not pid.isdigit():
        return "dead"
    if host != socket.gethostname():
        return "elsewhere"
    try:
        process = psutil.Process(int(pid))
        is_same = f"{process.create_time():.2f}" == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return "dead"
    return "alive" if is_same else "dead"


def is_alive(name: str) -> bool:
    """Say whether the process of a name still runs, here and not as ourselves; another host's counts as dead."""
    return name != process_name() and process_state(name) == "alive"
