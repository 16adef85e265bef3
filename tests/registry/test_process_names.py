"""Process names: alive, dead, recycled, elsewhere."""

import os
import socket
import subprocess
import sys

import psutil

from components.registry.process_names import is_alive, process_name, process_state


def name_of(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def test_a_process_is_alive_until_it_ends_and_a_recycled_id_is_another():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = name_of(child.pid)
    assert process_state(name) == "alive" and is_alive(name)
    assert process_state(f"{socket.gethostname()}:{child.pid}:1.00") == "dead"
    child.kill()
    psutil.Process(child.pid).wait(10) if psutil.pid_exists(child.pid) else None
    assert process_state(name) == "dead"  # also while nobody has fetched its exit code
    child.communicate()


def test_oneself_is_alive_but_nobody_to_wait_for_and_another_host_cannot_be_looked_at():
    assert process_name() == name_of(os.getpid())
    assert process_state(process_name()) == "alive" and not is_alive(process_name())
    assert process_state("another-host:1:1.00") == "elsewhere" and not is_alive("another-host:1:1.00")
    assert process_state("") == process_state("nonsense") == "dead"
