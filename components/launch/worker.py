"""The other end of `LocalProcess`: a warm process that does one request after another until its parent goes away.

    python -m components.launch.worker <answer-fd>

Requests come as JSON lines on stdin: {"id", "function": "module:name", "arguments": {}}. Answers go as JSON lines to
the file descriptor: {"id", "value"} or {"id", "error": class, "message"}. What a stage prints goes to the log.
"""

import ctypes
import importlib
import json
import os
import queue
import signal
import sys
import threading
from types import FrameType
from typing import Any

from components.errors import Preempted
from components.launch.failures import describe_failure

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until stdin ends."""
    answer_fd, dies_with_thread = int(sys.argv[1]), sys.argv[2:] == ["--main-thread"]
    if dies_with_thread:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    with os.fdopen(answer_fd, "w", encoding="utf-8") as answers:
        while True:
            answers.write(json.dumps(_answer(requests.get())) + "\n")
            answers.flush()


def _read_requests(requests: "queue.Queue[dict[str, Any]]") -> None:
    """Queue requests; leave the process at once when the parent has closed its end, by intent or by dying."""
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        module, name = request["function"].split(":")
        value = getattr(importlib.import_module(module), name)(**request["arguments"])
        return {"id": request["id"], "value": value}
    except BaseException as error:
        return {"id": request["id"], **describe_failure(error)}


def _stop(number: int, frame: FrameType | None) -> None:
    raise Preempted("told to stop; progress up to the last checkpoint is kept, run `make retrain` to go on")


if __name__ == "__main__":
    main()
