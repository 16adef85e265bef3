"""A peer's side of taking turns: prepare, say ready, then one measurement for every line read, until the input ends.

Answers are JSON objects, one a line, on what was standard output; whatever libraries print goes to standard error.
"""

import json
import os
import sys
from typing import Any


class Turns:
    """The conversation with `bench/peer_process.py`."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def ready(self, **facts: Any) -> None:
        """Say that the next turn may come; `facts` describe what was prepared."""
        self.report(ready=True, **facts)

    def next(self) -> str | None:
        """Wait for a turn and return its kind; None: no more."""
        line = sys.stdin.readline()
        return line.strip() if line else None

    def report(self, **values: Any) -> None:
        """Answer a turn."""
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()


def read_job() -> dict[str, Any]:
    """Return the job named on the command line."""
    with open(sys.argv[1], encoding="utf-8") as stream:
        return json.load(stream)
