"""A process that has imported what commands need and forks a child for each, so that the seconds of importing are paid once.

    python command_server.py <module>...

A line on stdin asks for a command: {"folder", "words", "environment", "stdout", "stderr", "file_bytes"}; the answer is its
exit code once it has ended, negative where a signal ended it. The child is a process of its own, which may be killed and has
its own environment, output and exit code. Words: ["quarkmed", ...], or a script of the folder and its arguments.
"""

import gc
import importlib
import json
import os
import resource
import runpy
import sys
from typing import Any


def main() -> None:
    """Serve until stdin ends. In a child, return or raise as the command does: Python ends it as any program."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(asked: dict[str, Any]) -> None:
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, asked["stdout"], os.O_WRONLY), (2, asked["stderr"], os.O_WRONLY)):
        opened = os.open(path, mode | (os.O_CREAT if number else 0))
        os.dup2(opened, number)
        os.close(opened)
    if asked["file_bytes"] is not None:  # as `ulimit -f`
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_bytes"], asked["file_bytes"]))
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0], sys.argv = asked["folder"], asked["words"]
    if asked["words"][0] == "quarkmed":
        importlib.import_module("flows.cli").main()
    else:
        runpy.run_path(asked["words"][0], run_name="__main__")


if __name__ == "__main__":
    main()
