"""The log of a job's first pod, followed into the run's log: each line once, whatever becomes of the connection.

Lines are asked for with their time stamps, which lead to where to go on after a lost stream; they are not written down. A
log that the node has turned over meanwhile is lost to us, never waited for.
"""

import contextlib
import threading
from pathlib import Path

from components.errors import QuarkmedError
from components.launch.kubernetes_api import KubernetesApi
from components.launch.kubernetes_job import CONTAINER

RETRY_SECONDS = 1.0
END_SECONDS = 10.0
LAST_TRIES = 3


class PodLog:
    """Follows one pod's log in a thread until `finish`."""

    def __init__(self, api: KubernetesApi, pod_path: str, *, log: Path) -> None:
        """Args: pod_path: of the API, such as /api/v1/namespaces/n/pods/p."""
        self._api, self._pod_path, self._log = api, pod_path, log
        self._last = ""  # the newest line's time stamp
        self._is_over = threading.Event()
        self._is_left = False
        self._thread = threading.Thread(target=self._follow, name="pod-log", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def finish(self) -> None:
        """Take what is left of an ended pod's log, and stop; a stream that hangs is left after `END_SECONDS`."""
        self._is_over.set()
        self._thread.join(END_SECONDS)
        self._is_left = True
        for _ in range(LAST_TRIES):
            if self._take(follows=False):
                return

    def _follow(self) -> None:
        while not self._is_over.is_set():
            self._take(follows=True)
            self._is_over.wait(RETRY_SECONDS)

    def _take(self, *, follows: bool) -> bool:
        """Append the lines that are not there yet; return whether all was had. A log that cannot be had never ends a stage."""
        with contextlib.suppress(QuarkmedError, OSError):
            self._append_lines(follows=follows)
            return True
        return False

    def _append_lines(self, *, follows: bool) -> None:
        since = {"sinceTime": f"{self._last[:19]}Z"} if self._last else {}  # whole seconds; lines of that second come again
        asked = {"container": CONTAINER, "timestamps": "true", "follow": "true" if follows else "false", **since}
        taken = self._last
        with self._log.open("ab", buffering=0) as log:
            for line in self._api.log_lines(self._pod_path, **asked):
                if follows and self._is_left:
                    return
                stamp, _, text = line.decode(errors="replace").partition(" ")
                stamp = stamp.rstrip("Z")  # then longer fractions sort behind the shorter ones they begin with
                if stamp > taken:
                    log.write(text.encode() + b"\n")
                    self._last = stamp
