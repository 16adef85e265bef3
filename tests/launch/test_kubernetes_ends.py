"""Why a job ended, told from its consequences: what the Job says, what its pods say, and what is left when both say little."""

import pytest

from components.launch.ends import Attempt
from components.launch.kubernetes_ends import job_ending, job_state, pod_time

ATTEMPT = Attempt("sft", "a" * 64)
DRAINED = {"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}


def job(kind=None, *, suspend=False, **condition):
    conditions = [{"type": kind, "status": "True", **condition}] if kind else []
    return {"metadata": {"name": "sft-a-1"}, "spec": {"suspend": suspend}, "status": {"conditions": conditions}}


def pod(name, code=None, *, second=0, said="", reason="Error", conditions=(), phase=None, **status):
    terminated = {"exitCode": code, "reason": reason, "finishedAt": f"2026-01-01T00:00:{second:02d}Z", "message": f"quarkmed: {said}\nTraceback" if said else ""}
    state = {} if code is None else {"terminated": terminated}
    phase = phase or ("Running" if code is None else "Failed" if code else "Succeeded")
    return {
        "metadata": {"name": name, "uid": name, "labels": {"quarkmed/run": "r", "quarkmed/stage": "sft", "quarkmed/stage-key": "a", "quarkmed/attempt": "2"}},
        "spec": {"nodeName": "n1", "containers": [{"resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": [{"name": "trainer", "state": state}], **status},
    }  # fmt: skip


def failed(reason="BackoffLimitExceeded", message=""):
    return job("Failed", reason=reason, message=message)


@pytest.mark.parametrize(
    ("pods", "kind", "named"),
    [
        ([pod("p0", 43, second=1), pod("p1", 44, second=2, said="memory was exhausted")], "out of memory", "p1: memory was exhausted"),
        ([pod("p0", 1, second=1), pod("p1", 45, second=2, said="diverged")], "diverged", "p1"),  # p0 lost its peer
        ([pod("p0", 1, second=1, said="KeyError"), pod("p1", 43, second=3)], "failed", "p0: KeyError"),  # p1 was told to stop for it
        ([pod("p0", 43, second=2, conditions=[DRAINED]), pod("p1", 1, second=1)], "preempted", "p0"),  # p1 lost its peer
        ([pod("p0", 43, second=1), pod("p1", 43, second=2)], "preempted", "p0"),
        ([pod("p0", 137, conditions=[DRAINED]), pod("p1", 43)], "infrastructure", "p0: Eviction API: evicting"),
        ([pod("p0", 137, reason="OOMKilled"), pod("p1", 43)], "out of memory", "OOMKilled"),
        ([pod("p0", 137)], "infrastructure", "exit code 137"),  # killed, and nobody says why
        ([pod("p0", 139)], "failed", "exit code 139"),  # a crash of its own
        ([pod("p0", 128, reason="StartError", said="")], "infrastructure", "StartError"),
        ([pod("p0", None, phase="Failed", reason="Evicted", message="low on memory")], "infrastructure", "p0"),
        ([pod("p0", 0), pod("p1", 2, said="x.jsonl:3: bad")], "user error", "p1: x.jsonl:3: bad"),
    ],
)  # fmt: skip
def test_the_cause_is_told_from_its_consequences(pods, kind, named):
    ending = job_ending(ATTEMPT, failed(), pods)
    assert ending.kind == kind and named in ending.message


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Container trainer for pod n/p-0 failed with exit code 44 matching FailJob rule at index 2", "out of memory"),
        ("Container trainer for pod n/p-0 failed with exit code 2 matching FailJob rule at index 0", "user error"),
        ("Pod n/p-0 has condition DisruptionTarget matching FailJob rule at index 4", "infrastructure"),
        ("", "infrastructure"),
    ],
)
def test_where_the_pods_are_gone_the_jobs_message_says_it(message, kind):
    ending = job_ending(ATTEMPT, failed("PodFailurePolicy", message), [])
    assert ending.kind == kind and "its pods are gone" in ending.message


def test_a_deadline_is_not_tried_again_and_a_job_that_is_gone_is():
    assert job_ending(ATTEMPT, failed("DeadlineExceeded"), [pod("p0", 43)]).kind == "user error"
    assert job_ending(ATTEMPT, None, []).kind == "infrastructure"


def test_a_job_whose_pods_still_save_has_not_ended():
    assert job_ending(ATTEMPT, job("FailureTarget"), [pod("p0", 44), pod("p1")]) is None
    assert job_ending(ATTEMPT, job(), [pod("p0")]) is None
    assert job_ending(ATTEMPT, job("Complete"), [pod("p0", 0)]).kind == "done"


def test_what_a_job_is_at():
    pending = pod("p0", phase="Pending")
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    pulling = {**pending, "status": {"phase": "Pending", "containerStatuses": [{"name": "trainer", "state": waiting}]}}
    homeless = {**pending, "spec": {}, "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no GPU"}]}}
    leaving = {**pod("p1"), "metadata": {"name": "p1", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert job_state(job(suspend=True), []) == ("queued", "the job waits for its queue")
    assert job_state(job(), [homeless, pulling]) == ("queued", "no GPU")
    assert job_state(job(), [pod("p1"), pulling]) == ("starting", "ErrImagePull: no such image")
    assert job_state(job(), [pod("p0"), leaving])[0] == "ending"
    assert job_state(job("FailureTarget"), [pod("p0")])[0] == "ending"
    assert job_state(job(), [pod("p0"), pod("p1")]) == ("running", "")


def test_a_pods_hours_are_its_gpus_from_the_node_to_the_end():
    ended = pod("p0", 43, second=30, startTime="2026-01-01T00:00:00Z")
    time = pod_time(ended, gpu_resource="nvidia.com/gpu", now=0.0)
    assert (time.gpus, time.run, time.attempt, time.has_ended) == (8, "r", 2, True)
    assert time.gpu_hours == pytest.approx(8 * 30 / 3600)
    running = pod("p1", startTime="2026-01-01T00:00:00Z")
    assert pod_time(running, gpu_resource="nvidia.com/gpu", now=time.started + 3600).gpu_hours == pytest.approx(8.0)
    assert pod_time(pod("p2"), gpu_resource="nvidia.com/gpu", now=0.0) is None
