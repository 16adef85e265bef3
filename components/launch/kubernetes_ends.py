"""How a job of a cluster ended, and what it is at before it does: pure functions of a Job and of its pods, as the API gives them.

Both sides are read. The Job says that it ended; its pods say why: exit codes, the kernel's OOM killer, evictions. Once one
pod has failed, the cluster ends the others, so of several ends the cause is told from its consequences by `_weight`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from components.launch.ends import Attempt, Ending, Kind, kind_of_exit, said_by
from components.launch.gpu_hours import PodTime
from components.launch.kubernetes_job import ATTEMPT_LABEL, CONTAINER, KEY_LABEL, RUN_LABEL, STAGE_LABEL

Object = dict[str, Any]
State = Literal["queued", "starting", "running", "ending"]

INDEX = "batch.kubernetes.io/job-completion-index"
CODE = re.compile(r"failed with exit code (\d+)")  # in a failed job's message, where a rule of its failure policy matched
OWN_FAULT: tuple[Kind, ...] = ("user error", "out of memory", "diverged")


@dataclass(frozen=True)
class PodEnd:
    """How one pod ended. `ended` is seconds since the epoch, endless where the pod does not say."""

    name: str
    kind: Kind
    is_disrupted: bool
    ended: float
    message: str


def job_ending(attempt: Attempt, job: Object | None, pods: list[Object]) -> Ending | None:
    """Return how a job ended, or None where it has not: its pods may still be saving their state.

    A job that is done has no `run` yet: what it made is read by who waited for it.
    """
    if job is None:
        return Ending("infrastructure", attempt, f"the job of stage {attempt.stage} is gone: deleted from outside, or its namespace with it")
    if has_condition(job, "Complete"):
        return Ending("done", attempt)
    failed = _condition(job, "Failed")
    if failed is None:
        return None
    name, reason = job["metadata"]["name"], failed.get("reason", "")
    if reason == "DeadlineExceeded":
        return Ending("user error", attempt, f"job {name} ran for as long as deadline_hours of its pods' settings allows; raise it, or run again: it goes on from its checkpoint")
    ends = [end for end in map(_pod_end, pods) if end is not None]
    if ends:
        cause = min(ends, key=_weight)
        return Ending(cause.kind, attempt, f"job {name}, pod {cause.name}: {cause.message}")
    return Ending(_kind_of_message(failed.get("message", "")), attempt, f"job {name}: {failed.get('message') or reason or 'failed'}; its pods are gone")


def job_state(job: Object, pods: list[Object]) -> tuple[State, str]:
    """Return what a job that has not ended is at, and the cluster's words where something is waited for."""
    if has_condition(job, "FailureTarget") or job["metadata"].get("deletionTimestamp") or any(pod["metadata"].get("deletionTimestamp") for pod in pods):
        return "ending", "a pod does not end"
    waiting = [pod for pod in pods if pod.get("status", {}).get("phase", "Pending") == "Pending"]
    if job["spec"].get("suspend"):
        return "queued", "the job waits for its queue"
    if not pods:
        return "queued", "no pod of the job was made (a quota, or a refused pod: `kubectl describe` says)"
    for pod in waiting:
        if not pod["spec"].get("nodeName"):
            return "queued", (_condition(pod, "PodScheduled", status="False") or {}).get("message", "no node for a pod yet")
    for pod in waiting:
        return "starting", _waiting_words(pod) or "a pod is on its node and has not started"
    return "running", ""


def has_condition(thing: Object, kind: str) -> bool:
    """Say whether a condition of an object is true."""
    return _condition(thing, kind) is not None


def is_over(job: Object) -> bool:
    """Say whether a job has ended, well or not."""
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def pod_index(pod: Object) -> int:
    """Return a pod's completion index, which is its node rank; -1 where it has none."""
    metadata = pod["metadata"]
    return int(metadata.get("annotations", {}).get(INDEX, metadata.get("labels", {}).get(INDEX, -1)))


def pod_time(pod: Object, *, gpu_resource: str, now: float) -> PodTime | None:
    """Return the line of the ledger of GPU-hours for a pod that is on a node, at a moment in seconds since the epoch; None before.

    What a pod does not say (a label of another version's job) is empty.
    """
    status, labels = pod.get("status", {}), pod["metadata"].get("labels", {})
    if not status.get("startTime"):
        return None
    finished = (_terminated(pod) or {}).get("finishedAt")
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return PodTime(
        pod=pod["metadata"]["name"], uid=pod["metadata"]["uid"], node=pod["spec"].get("nodeName", ""), run=labels.get(RUN_LABEL, ""),
        stage=labels.get(STAGE_LABEL, ""), key=labels.get(KEY_LABEL, ""), attempt=int(labels.get(ATTEMPT_LABEL, "1")), gpus=int(limits.get(gpu_resource, 0)),
        started=seconds_of(status["startTime"]), ended=seconds_of(finished) if finished else now, has_ended=finished is not None,
    )  # fmt: skip


def seconds_of(stamp: str) -> float:
    """Return the seconds since the epoch of the API's time stamps (RFC 3339)."""
    return datetime.fromisoformat(stamp).timestamp()


def _pod_end(pod: Object) -> PodEnd | None:
    """Return how a pod ended, or None where it ended well or still runs."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    terminated = _terminated(pod)
    disruption = _condition(pod, "DisruptionTarget")
    taken = status.get("reason") in ("Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting") or disruption is not None
    if terminated is None:
        if status.get("phase") != "Failed" and not taken:
            return None
        words = (disruption or {}).get("message") or status.get("message") or status.get("reason") or "its node does not answer"
        return PodEnd(name, "infrastructure", taken, float("inf"), words)
    code, ended = int(terminated["exitCode"]), seconds_of(terminated["finishedAt"]) if terminated.get("finishedAt") else float("inf")
    if code == 0:
        return None
    if terminated.get("reason") == "OOMKilled":
        return PodEnd(name, "out of memory", taken, ended, "the kernel ended it at memory_gibibytes of its pod's settings (OOMKilled); raise that, or lower micro_tokens in params.yaml")
    kind = kind_of_exit(code)
    said = said_by(terminated.get("message") or "")
    if taken and kind not in (*OWN_FAULT, "preempted"):
        return PodEnd(name, "infrastructure", taken, ended, (disruption or {}).get("message") or status.get("message") or f"taken away, exit code {code}")
    if not said and terminated.get("reason") in ("StartError", "ContainerCannotRun"):
        return PodEnd(name, "infrastructure", taken, ended, terminated.get("message") or terminated["reason"])
    return PodEnd(name, kind, taken, ended, said or f"exit code {code}, and nothing said; its log is in the run's")


def _weight(end: PodEnd) -> tuple[int, float, str]:
    """Order ends by how much they explain: a stage's own fault, then a pod that was taken away, then whatever came first.

    What follows from another pod's end: 43 (the cluster ended the others), 1 (a rank lost its peer).
    """
    rank = 0 if end.kind in OWN_FAULT else 1 if end.is_disrupted else 2
    return rank, end.ended, end.name


def _kind_of_message(message: str) -> Kind:
    found = CODE.search(message)
    return kind_of_exit(int(found[1])) if found else "infrastructure"


def _waiting_words(pod: Object) -> str:
    for status in pod.get("status", {}).get("containerStatuses", []):
        waiting = status.get("state", {}).get("waiting")
        if waiting:
            return ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
    return ""


def _terminated(pod: Object) -> Object | None:
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status.get("name") == CONTAINER:
            found: Object | None = status.get("state", {}).get("terminated")
            return found
    return None


def _condition(thing: Object, kind: str, *, status: str = "True") -> Object | None:
    for condition in thing.get("status", {}).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == status:
            found: Object = condition
            return found
    return None
