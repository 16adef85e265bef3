"""The other end of `LocalProcess`: a warm process that does one request after another until its parent goes away.

    python -m components.launch.worker <answer-fd> <grace-seconds> [--main-thread]

Requests come as JSON lines on stdin: {"id", "function": "module:name", "arguments": {}}. Answers go as JSON lines to
the file descriptor: {"id", "value"} or {"id", "error": class, "message"}. What a stage prints goes to the log. SIGTERM:
a training step at work is finished and saved, the request is answered with Preempted, and the process exits with 43.
"""

import contextlib
import ctypes
import importlib
import json
import os
import queue
import signal
import sys
import threading
from typing import Any

from components.errors import EXIT_PREEMPTED, Preempted
from components.launch.failures import describe_failure
from components.observing.run_log import open_process_log, process_log
from components.training.preemption import stop_signals

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until stdin ends."""
    answer_fd, grace_seconds, dies_with_thread = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] == ["--main-thread"]
    if dies_with_thread:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    open_process_log()
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    with os.fdopen(answer_fd, "w", encoding="utf-8") as answers, stop_signals(grace_seconds=grace_seconds) as heard:
        with contextlib.suppress(Preempted):  # while it waits for a request
            while not heard.is_asked:
                answers.write(json.dumps(_answer(requests.get())) + "\n")
                answers.flush()
        os._exit(EXIT_PREEMPTED)  # as an ordinary exit would wait for the thread that reads


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
        described, log = describe_failure(error), process_log()
        if log is not None:
            log.write("request failed", level="error", function=request["function"], error=described["error"])
        return {"id": request["id"], **described}


if __name__ == "__main__":
    main()
