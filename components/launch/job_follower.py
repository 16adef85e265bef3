"""One job from its first pod to its end: look at Job and pods again and again, follow the log, count GPU-hours, wait with bounds.

A watch only wakes the follower earlier than its next look: whatever it says, both sides are read anew. So a watch that is
lost costs a few seconds and never the end.
"""

import time
from typing import TYPE_CHECKING, Any

from components.errors import UserError
from components.launch.ends import Attempt, Ending
from components.launch.kubernetes_api import ApiUnreachable
from components.launch.kubernetes_ends import State, job_ending, job_state, pod_index
from components.launch.kubernetes_job import END_SECONDS, TrainingJob
from components.launch.pod_log import PodLog

if TYPE_CHECKING:
    from components.launch.kubernetes_backend import KubernetesBackend

Object = dict[str, Any]
COUNT_SECONDS = 300.0  # between two lines of a running pod in the ledger
LEAST_WAIT_SECONDS = 0.1  # between two looks, however much a watch has to say
LOST_WATCH_SECONDS = 1.0


class JobFollower:
    """Follows one job."""

    def __init__(self, backend: "KubernetesBackend", job: TrainingJob, attempt: Attempt) -> None:
        self._backend, self._job, self._attempt = backend, job, attempt
        self._log: PodLog | None = None
        self._state: State = "queued"
        self._since = time.monotonic()
        self._counted = float("-inf")

    def follow(self) -> Ending:
        """Wait for the job's end and return it; one that outlasts a bound of `launch.cluster` is deleted, and that is its end."""
        while True:
            job, pods = self._look()
            ending = job_ending(self._attempt, job, pods)
            self._see(pods, is_last=ending is not None)
            if ending is None and job is not None:
                ending = self._overdue(job, pods)
            if ending is not None:
                return ending
            assert job is not None
            self._wait(job)

    def close(self) -> None:
        """Take what is left of the log; after the end, so that the last words of a pod that was told to stop are in it."""
        if self._log is not None:
            self._log.finish()

    def _look(self) -> tuple[Object | None, list[Object]]:
        """Return the job (None where it is gone) and its pods, both read after what came before."""
        job = self._backend.patiently(lambda: self._backend.jobs.find(self._job.name))
        return job, self._backend.patiently(lambda: self._backend.pods_of(self._job.name))

    def _see(self, pods: list[Object], *, is_last: bool) -> None:
        """Count the pods' time now and then, and begin to follow the log of the first pod once it has started."""
        if is_last or time.monotonic() - self._counted > COUNT_SECONDS:
            self._backend.count_hours(pods)
            self._counted = time.monotonic()
        for pod in pods:
            has_started = pod.get("status", {}).get("phase") in ("Running", "Succeeded", "Failed")
            if self._log is None and has_started and pod_index(pod) == 0:
                self._log = PodLog(self._backend.api, f"{self._backend.pods}/{pod['metadata']['name']}", log=self._backend.log)
                self._log.start()

    def _overdue(self, job: Object, pods: list[Object]) -> Ending | None:
        """Return the end of a job that stood in one state for longer than that state's bound, once it is deleted."""
        state, words = job_state(job, pods)
        if state != self._state:
            self._state, self._since = state, time.monotonic()
        cluster = self._backend.cluster
        bounds = {
            "queued": (3600 * cluster.queue_hours, "queue_hours"), "starting": (60 * cluster.start_minutes, "start_minutes"),
            "ending": (self._job.grace_seconds + END_SECONDS + 60 * cluster.lost_minutes, "lost_minutes"),
        }  # fmt: skip
        if state == "running" or time.monotonic() - self._since <= bounds[state][0]:
            return None
        message = f"job {self._job.name}: {state} for longer than launch.cluster.{bounds[state][1]} allows: {words}"
        if not self._backend.remove(self._job.name, grace_seconds=self._job.grace_seconds):
            message += "; it was deleted and its pods still stand, on a node that does not answer"
        return Ending("infrastructure", self._attempt, message)

    def _wait(self, job: Object) -> None:
        """Wait for a change of the job, at most `look_seconds`."""
        seconds, started = self._backend.cluster.look_seconds, time.monotonic()
        try:
            self._backend.jobs.wait_for_change(self._job.name, version=job["metadata"].get("resourceVersion", ""), seconds=seconds)
            rest = LEAST_WAIT_SECONDS
        except (ApiUnreachable, UserError):  # never Preempted, which a signal may raise here
            rest = min(seconds, LOST_WATCH_SECONDS)
        time.sleep(max(0.0, rest - (time.monotonic() - started)))
