"""Stages as JobSets: what the manifest says, how ends are told, and every turn of a plain Job's life again."""

import dataclasses
import re
import time

import kubernetes_validate
import pytest
import yaml

from components.errors import EXIT_OUT_OF_MEMORY, Preempted, UserError
from components.launch.ends import Attempt
from components.launch.gpu_hours import open_ledger
from components.launch.kubernetes_ends import is_over, job_ending, job_state
from components.launch.kubernetes_job import TrainingJob, training_command
from components.launch.kubernetes_jobset import INSET, NAME_LABEL, as_job, jobset_manifest
from components.pipeline.events import RunEvents
from components.settings.cluster import TrainerPodSettings

WAITING = "trap 'touch saved; exit 43' TERM; echo ready; while true; do sleep 0.02; done"
POD = TrainerPodSettings(image="t:1", cpus=2, memory_gibibytes=4, gpus=8, queue="training")
JOB = TrainingJob(namespace="n", stage="grpo_reasoning", stage_key="0123456789abcdef" * 4, attempt=2, nodes=4, grace_seconds=300.5, pod=POD, run="r", inset=INSET)
FIELDS = {  # of JobSet's v1alpha2, as far as we use it
    "spec": {"network", "failurePolicy", "ttlSecondsAfterFinished", "replicatedJobs"},
    "network": {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"},
    "replicated": {"name", "replicas", "template"},
}


@pytest.fixture
def jobsets(cluster):
    cluster.launch["cluster"]["kind"] = "jobset"
    return cluster


def test_its_job_fits_the_schemas_and_it_names_known_fields_alone():
    manifest = jobset_manifest(JOB)
    spec, (replicated,) = manifest["spec"], manifest["spec"]["replicatedJobs"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert (set(spec), set(spec["network"]), set(replicated)) == (FIELDS["spec"], FIELDS["network"], FIELDS["replicated"])
    template = replicated["template"]
    child = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"{JOB.name}{INSET}", **template["metadata"]}, "spec": template["spec"]}
    assert kubernetes_validate.validate(child, "1.33", strict=True) == "1.33"
    assert (template["spec"]["completions"], template["spec"]["backoffLimit"], spec["failurePolicy"]) == (4, 0, {"maxRestarts": 0})
    assert len(template["spec"]["podFailurePolicy"]["rules"]) == 5


def test_only_the_jobset_waits_in_the_queue_and_is_kept_for_a_while():
    manifest = jobset_manifest(JOB)
    template = manifest["spec"]["replicatedJobs"][0]["template"]
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    assert "kueue" not in yaml.safe_dump(template)
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 24 * 3600 and "ttlSecondsAfterFinished" not in template["spec"]
    for labels in (template["metadata"]["labels"], template["spec"]["template"]["metadata"]["labels"]):
        assert (labels["quarkmed/run"], labels["app.kubernetes.io/component"]) == ("r", "trainer")  # found by, and allowed to meet by


@pytest.mark.parametrize("nodes", [1, 10, 11, 1001])
@pytest.mark.parametrize("stage", ["sft", "grpo_reasoning", "s" * 100])
def test_pods_meet_by_the_names_that_jobset_gives_them(stage, nodes):
    job = dataclasses.replace(JOB, stage=stage, nodes=nodes)
    command, name = training_command(job), jobset_manifest(job)["metadata"]["name"]
    assert command[command.index("--master-addr") + 1] == f"{name}-nodes-0-0.{name}"  # <jobset>-<replicated job>-<job's index>-<pod's index>.<subdomain>
    assert jobset_manifest(job)["spec"]["network"]["subdomain"] == name
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", f"{name}-nodes-0-{nodes - 1}-x7k2p")  # the last pod's name, which JobSet checks
    assert stage == "s" * 100 or name == dataclasses.replace(job, inset="").name


def condition(kind, status="True", **more):
    return {"type": kind, "status": status, **more}


def jobset(*conditions, suspend=False):
    return {"metadata": {"name": "sft-a-1"}, "spec": {"suspend": suspend}, "status": {"conditions": list(conditions)}}


FAILED = condition("Failed", reason="ReachedMaxRestarts", message="jobset failed due to reaching max number of restarts (first failed job: sft-a-1-nodes-0)")
RULE = condition("Failed", reason="PodFailurePolicy", message="Container trainer for pod n/p failed with exit code 44 matching FailJob rule at index 2")


@pytest.mark.parametrize(
    ("own", "jobs", "kind"),
    [
        ([FAILED], [RULE], "out of memory"),
        ([], [RULE], "out of memory"),  # the controller has not said it of the JobSet yet
        ([FAILED], None, "infrastructure"),  # its Job is gone
        ([FAILED], [condition("Failed", reason="DeadlineExceeded")], "user error"),
        ([condition("Completed")], [condition("Complete")], "done"),
        ([condition("Completed")], None, "done"),
    ],
)
def test_the_job_says_how_the_jobset_ended(own, jobs, kind):
    seen = as_job(jobset(*own), None if jobs is None else {"status": {"conditions": jobs}})
    assert is_over(seen) and job_ending(Attempt("sft", "a" * 64), seen, []).kind == kind


def test_a_jobset_that_works_or_waits_has_not_ended():
    waiting = as_job(jobset(condition("Suspended"), suspend=True), None)
    assert not is_over(waiting) and job_state(waiting, []) == ("queued", "the job waits for its queue")
    ending = as_job(jobset(condition("Suspended", "False"), condition("StartupPolicyCompleted")), {"status": {"conditions": [condition("FailureTarget")]}})
    assert not is_over(ending) and job_state(ending, [])[0] == "ending"
    assert job_state(as_job(jobset(), {"status": {}}), [])[0] == "queued"


def test_a_stage_that_ends_well_is_taken_over_from_the_shared_folder(jobsets):
    jobsets.scripts = [jobsets.good()]
    assert jobsets.run().name == "sources"
    assert (jobsets.root / "artifacts" / "sources").read_text() == "made" and jobsets.log_lines() == ["making", "made"]
    ((name, made),) = jobsets.server.jobsets.jobsets.items()
    assert name == jobsets.backend().job(jobsets.attempt()).name and made["metadata"]["labels"]["quarkmed/run"] == "run-1"
    assert list(jobsets.server.pods.jobs) == [f"{name}-nodes-0"] and list(jobsets.server.services) == [name]
    assert "POST /apis/batch/v1/namespaces/n/jobs" not in jobsets.server.calls and "POST /api/v1/namespaces/n/services" not in jobsets.server.calls
    assert [(pod.run, pod.gpus, pod.has_ended) for pod in open_ledger(jobsets.root).pods()] == [("run-1", 1, True)]


def test_a_failure_of_its_own_ends_it_and_memory_and_evictions_are_tried_again(jobsets):
    jobsets.scripts = [f"exit {EXIT_OUT_OF_MEMORY}", WAITING, "echo 'quarkmed: x.jsonl:3: bad line'; exit 2"]
    jobsets.later(lambda: jobsets.server.pods.evict(running(jobsets, "-2-nodes-0")))
    with pytest.raises(UserError, match=r"job sources-\w+-3, pod sources-\w+-3-nodes-0-0-\w+: x\.jsonl:3: bad line$"):
        jobsets.run()
    assert "attempt 2 with micro_tokens / 2 goes on" in jobsets.told[0] and "attempt 2 ended (infrastructure" in jobsets.told[1]
    assert len(jobsets.server.jobsets.jobsets) == 3


def running(cluster, ending):
    """Wait until a job of this ending of its name has printed something; return the name."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for name, pods in list(cluster.server.pods.pods.items()):
            if name.endswith(ending) and pods[0].lines:
                return name
        time.sleep(0.01)
    raise AssertionError(ending)


@pytest.mark.slow
def test_one_whose_creation_was_not_answered_is_adopted(jobsets):
    backend = jobsets.backend()
    jobsets.scripts = [jobsets.good()]
    jobsets.lose_the_answer(backend)
    assert backend.run(jobsets.attempt()).kind == "done"
    assert len(jobsets.made) == 1 and "is there already, and taken over" in jobsets.told[0]


@pytest.mark.slow
def test_a_killed_runs_jobset_is_taken_over_and_an_ended_ones_swept(jobsets):
    jobsets.scripts = [f"echo ready; while ! test -e go; do sleep 0.02; done; {jobsets.good()}"]
    killed, ended = jobsets.backend("killed"), jobsets.backend("ended")
    killed._create(killed.job(jobsets.attempt()))
    ended._create(ended.job(Attempt("ift", "1" * 64)))
    RunEvents(jobsets.root / "runs" / "killed").phase("at work")
    RunEvents(jobsets.root / "runs" / "ended").end("failed")
    (orphan,) = [name for name in jobsets.server.jobsets.jobsets if name.startswith("ift")]

    def go_on_once_it_is_taken_over():
        while len(jobsets.told) < 2:
            time.sleep(0.02)
        (jobsets.root / "go").touch()

    jobsets.later(go_on_once_it_is_taken_over)
    assert jobsets.run("next").name == "sources"
    swept, taken = jobsets.told
    assert swept == f"job {orphan} of a run that has ended was still at work, and was deleted" and "is there already, and taken over" in taken
    assert orphan not in jobsets.server.jobsets.jobsets and f"{orphan}-nodes-0" not in jobsets.server.pods.jobs
    assert len(jobsets.made) == 2 and "next" not in {pod.run for pod in open_ledger(jobsets.root).pods()}


@pytest.mark.slow
def test_told_to_stop_it_deletes_the_jobset_once_its_pods_have_saved(jobsets, monkeypatch):
    backend = jobsets.backend()
    jobsets.scripts = [WAITING]
    wait = backend.jobs.wait_for_change

    def stop(*arguments, **more):
        if (jobsets.root / "log.txt").exists() and jobsets.log_lines():
            raise Preempted("told to stop")
        return wait(*arguments, **more)

    monkeypatch.setattr(backend.jobs, "wait_for_change", stop)
    with pytest.raises(Preempted, match=r"job sources-\w+-1 was deleted"):
        backend.run(jobsets.attempt())
    assert (jobsets.root / "saved").exists()
    assert jobsets.server.jobsets.jobsets == jobsets.server.pods.jobs == jobsets.server.services == {}


def test_a_queue_holds_it_back_until_it_is_admitted(jobsets):
    (jobsets.root / "pods.yaml").write_text(yaml.safe_dump({"image": "trainer:1", "cpus": 2, "memory_gibibytes": 4, "queue": "training"}))
    jobsets.server.jobsets.suspends = True
    jobsets.scripts = [jobsets.good()]
    seen = []

    def admit():
        while not jobsets.server.jobsets.jobsets:
            time.sleep(0.02)
        seen.extend(jobsets.server.pods.jobs)
        jobsets.server.jobsets.admit(next(iter(jobsets.server.jobsets.jobsets)))

    jobsets.later(admit, seconds=0.3)
    assert jobsets.run().name == "sources" and seen == []


def test_a_cluster_without_jobset_is_said_before_the_first_stage(jobsets):
    jobsets.server.jobsets.is_installed = False
    with pytest.raises(UserError, match=r"launch\.cluster\.kind is jobset, and this cluster knows no JobSet"):
        jobsets.backend()


@pytest.mark.slow
def test_two_pods_of_a_jobset_have_their_ranks(jobsets):
    jobsets.launch["cluster"]["nodes"] = 2
    backend = jobsets.backend()
    backend.settings = jobsets.settings.model_copy(update={"engine": jobsets.settings.engine.model_copy(update={"strategy": "ddp"})})
    jobsets.scripts = [f"if [ $INDEX = 1 ]; then sleep 0.2; exit {EXIT_OUT_OF_MEMORY}; fi; {WAITING}"]
    assert backend.run(jobsets.attempt()).kind == "out of memory"
    (pods,) = jobsets.server.pods.pods.values()
    assert {pod.object["metadata"]["labels"][NAME_LABEL] for pod in pods} == set(jobsets.server.jobsets.jobsets)
    assert [pod.gpus for pod in open_ledger(jobsets.root).pods()] == [2, 2]
    assert "127.0.0.1" in jobsets.server.pods.rendered_command(jobsets.made[0], 1)  # the name pods meet by is that of the first
