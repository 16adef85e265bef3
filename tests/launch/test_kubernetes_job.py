"""The manifests of a stage's job: names within the limits, one failure rule a code, and what the cluster's schemas accept."""

import dataclasses
import re
from typing import Any

import kubernetes_validate
import pytest

from components.errors import EXIT_DIVERGED, EXIT_OUT_OF_MEMORY, EXIT_PREEMPTED, EXIT_USER_ERROR, SettingsError
from components.launch.kubernetes_job import TrainingJob, job_manifest, service_manifest, training_command
from components.settings.cluster import Toleration, TrainerPodSettings

KUBERNETES = "1.33"
KEY = "0123456789abcdef" * 4
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035, what a Service's name must be; RFC 1123 allows more
POD = TrainerPodSettings(
    image="registry.example/quarkmed-trainer:0.1.0", cpus=96, memory_gibibytes=1024, shared_memory_gibibytes=64, scratch_gibibytes=200, gpus=8,
    node_selector={"nvidia.com/gpu.product": "H100"}, tolerations=(Toleration(key="nvidia.com/gpu", effect="NoSchedule"),), queue="training",
)  # fmt: skip
JOB = TrainingJob(namespace="quarkmed-training", stage="grpo_reasoning", stage_key=KEY, attempt=2, nodes=4, grace_seconds=300.5, pod=POD)
ON_PROCESSORS = dataclasses.replace(JOB, nodes=1, pod=TrainerPodSettings(image="t:1", cpus=2, memory_gibibytes=4))


def _pod(job: TrainingJob) -> dict[str, Any]:
    return job_manifest(job)["spec"]["template"]["spec"]


@pytest.mark.parametrize("job", [JOB, ON_PROCESSORS], ids=["gpus", "processors"])
def test_manifests_fit_the_schemas_of_kubernetes(job):
    for manifest in (job_manifest(job), service_manifest(job), service_manifest(job, job_uid="6a1b")):
        assert kubernetes_validate.validate(manifest, KUBERNETES, strict=True) == KUBERNETES


def test_the_schemas_refuse_an_unknown_field():
    manifest = job_manifest(JOB)
    manifest["spec"]["backofLimit"] = manifest["spec"].pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_name_follows_from_stage_key_and_attempt():
    assert JOB.name == "grpo-reasoning-0123456789abcdef-2"
    assert JOB.name == dataclasses.replace(JOB, grace_seconds=1.0, pod=ON_PROCESSORS.pod).name
    names = {job.name for job in (JOB, *(dataclasses.replace(JOB, **other) for other in ({"stage": "sft"}, {"stage_key": "f" * 64}, {"attempt": 3})))}
    assert len(names) == 4


@pytest.mark.parametrize("nodes", [1, 10, 11, 128, 1001])
@pytest.mark.parametrize("stage", ["sft", "s" * 100, "a" + "_b" * 40])
def test_every_host_name_is_a_dns_label(stage, nodes):
    job = dataclasses.replace(JOB, stage=stage, nodes=nodes, attempt=12)
    assert LABEL.fullmatch(job.name)
    assert LABEL.fullmatch(f"{job.name}-{nodes - 1}")  # the host name of the last pod
    assert job.name.endswith("-0123456789abcdef-12")


def test_a_long_stage_is_cut_to_63_characters_with_the_index():
    # "-0123456789abcdef-2" is 19 characters, "-3" two more: 63 - 21 = 42 are left to the stage
    assert dataclasses.replace(JOB, stage="s" * 100).name == "s" * 42 + "-0123456789abcdef-2"


@pytest.mark.parametrize(
    "wrong",
    [{"stage": "Sft"}, {"stage": "1ft"}, {"stage": ""}, {"stage_key": "xyz"}, {"stage_key": "abc"}, {"attempt": 0}, {"nodes": 0}, {"grace_seconds": 0.0}, {"run": "a b"}, {"folder": "/elsewhere"}],
    ids=str,
)
def test_what_makes_no_job_is_refused(wrong):
    with pytest.raises(SettingsError, match="stage"):
        dataclasses.replace(JOB, **wrong)


def test_pods_meet_at_the_first_one_and_take_their_index_as_rank():
    command = _pod(JOB)["containers"][0]["command"]
    assert command == [
        "python", "-m", "components.launch.torchrun", "--nnodes", "4", "--nproc-per-node", "8", "--node-rank", "$(JOB_COMPLETION_INDEX)",
        "--master-addr", "grpo-reasoning-0123456789abcdef-2-0.grpo-reasoning-0123456789abcdef-2", "--master-port", "29500",
        "--shutdown-timeout", "306", "--module", "flows.cli", "stage", "grpo_reasoning",
    ]  # fmt: skip
    spec, service = job_manifest(JOB)["spec"], service_manifest(JOB)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job_manifest(JOB)["metadata"]["name"]}
    assert service["metadata"]["name"] == _pod(JOB)["subdomain"]


def test_the_cluster_retries_nothing_and_names_how_a_pod_ended():
    spec = job_manifest(JOB)["spec"]
    assert spec["backoffLimit"] == 0
    rules = spec["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == {"FailJob"}
    assert [rule["onExitCodes"]["values"] for rule in rules[:4]] == [[EXIT_USER_ERROR], [EXIT_PREEMPTED], [EXIT_OUT_OF_MEMORY], [EXIT_DIVERGED]] == [[2], [43], [44], [45]]
    assert {rule["onExitCodes"]["containerName"] for rule in rules[:4]} == {_pod(JOB)["containers"][0]["name"]}
    assert rules[4]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert _pod(JOB)["restartPolicy"] == "Never"  # what a failure policy demands


def test_a_pod_that_is_told_to_stop_outlives_its_ranks():
    # a rank has 301 s (300.5 rounded up) for its checkpoint, torchrun kills it after 306, the node kills the pod after 331
    assert _pod(JOB)["terminationGracePeriodSeconds"] == 331
    assert job_manifest(JOB)["spec"]["activeDeadlineSeconds"] == 72 * 3600


def test_gpus_queue_and_nodes_are_asked_for():
    spec, container = _pod(JOB), _pod(JOB)["containers"][0]
    expected = {"cpu": "96", "memory": "1024Gi", "ephemeral-storage": "200Gi", "nvidia.com/gpu": "8"}
    assert container["resources"] == {"requests": expected, "limits": expected}
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "H100"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert job_manifest(JOB)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"


def test_without_gpus_and_queue_nothing_names_them():
    spec, labels = _pod(ON_PROCESSORS), job_manifest(ON_PROCESSORS)["metadata"]["labels"]
    assert set(spec["containers"][0]["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    assert not {"nodeSelector", "tolerations"} & set(spec)
    assert "kueue.x-k8s.io/queue-name" not in labels


def test_shared_memory_is_memory():
    mounts = {mount["name"]: mount["mountPath"] for mount in _pod(JOB)["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in _pod(JOB)["volumes"]}
    assert set(mounts) == set(volumes)
    assert mounts["shared-memory"] == "/dev/shm"
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Gi"}


def test_a_pod_of_a_run_logs_to_the_runs_folder():
    def said(job: TrainingJob) -> dict[str, str]:
        return {item["name"]: item["value"] for item in _pod(job)["containers"][0]["env"] if item["name"].startswith("QUARKMED_")}

    elsewhere = dataclasses.replace(JOB, run="r1", folder="/project/var/worktrees/a")
    assert said(elsewhere) == {"QUARKMED_LOG": "/project/var/worktrees/a/runs/r1/logs/stages.jsonl", "QUARKMED_RUN": "r1"}
    assert said(JOB) == {}


def test_labels_say_stage_key_and_attempt_within_their_limit():
    labels = job_manifest(JOB)["metadata"]["labels"]
    assert labels == job_manifest(JOB)["spec"]["template"]["metadata"]["labels"] == service_manifest(JOB)["metadata"]["labels"]
    assert (labels["quarkmed/stage"], labels["quarkmed/attempt"]) == ("grpo_reasoning", "2")
    assert labels["quarkmed/stage-key"] == KEY[:63]  # a label holds 63 characters, the key has 64
    assert job_manifest(JOB)["metadata"]["annotations"] == {"quarkmed/stage-key": KEY, "quarkmed/folder": "/project", "quarkmed/micro-divisor": "1"}


def test_a_service_goes_with_its_job():
    assert "ownerReferences" not in service_manifest(JOB)["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": JOB.name, "uid": "6a1b"}
    assert service_manifest(JOB, job_uid="6a1b")["metadata"]["ownerReferences"] == [owner]


def test_another_folder_is_another_job_and_where_its_pods_work():
    elsewhere = dataclasses.replace(JOB, folder="/project/var/worktrees/a")
    assert elsewhere.name != JOB.name and LABEL.fullmatch(elsewhere.name)
    assert _pod(elsewhere)["containers"][0]["workingDir"] == "/project/var/worktrees/a"


def test_an_attempt_with_smaller_passes_says_so_to_its_ranks():
    smaller = dataclasses.replace(JOB, micro_divisor=2, run="20260101-000000-abcd")
    assert training_command(smaller)[-4:] == ["stage", "grpo_reasoning", "--micro-divisor", "2"]
    metadata = job_manifest(smaller)["metadata"]
    assert metadata["annotations"]["quarkmed/micro-divisor"] == "2"
    assert metadata["labels"]["quarkmed/run"] == "20260101-000000-abcd"
    assert smaller.name == JOB.name
