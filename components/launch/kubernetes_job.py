"""The Kubernetes manifests of one training stage: an Indexed Job of one pod a node, and the headless Service they meet by.

Every pod runs torchrun with its completion index as node rank; pod 0 is met at `<job>-0.<service>`. The name follows
from stage, key, folder and attempt alone, so that who asks twice finds the job that is there. The cluster retries nothing: the
first pod that fails, or is taken away, fails the job, and `FAILURE_RULES` name how. Pods hold no token of the cluster,
run as a numbered user without capabilities on a read-only root, and write to the project's volume, /tmp and /dev/shm alone.

Pure functions; nothing here talks to a cluster.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.errors import EXIT_DIVERGED, EXIT_OUT_OF_MEMORY, EXIT_PREEMPTED, EXIT_USER_ERROR, SettingsError
from components.launch.stage_environment import STAGE_ENVIRONMENT
from components.lineage import digest_value
from components.observing.run_log import log_environment
from components.pipeline.events import RUNS
from components.settings.cluster import TrainerPodSettings

Manifest = dict[str, Any]

CONTAINER = "trainer"
PORT = 29500  # torchrun's store, on pod 0
PROJECT = "/project"
USER = 10001
NAME_LENGTH = 63  # of a DNS label (RFC 1123): a pod's host name is `<job>-<index>`
POD_ENDING = 6  # of a pod's name, such as -x7k2p; a JobSet whose pods' names would be too long with it is refused
KEY_LENGTH = 16  # hexadecimal digits of the stage key in a name
LABEL_LENGTH = 63
ANSWER_SECONDS = 5  # beyond the grace, for a rank to end; then torchrun kills it
END_SECONDS = 30  # beyond the grace, for the pod to end; then the node kills it
STAGE = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
KEY = re.compile(r"[0-9a-f]{16,}")
RUN = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")  # what a label's value may be
STAGE_LABEL, KEY_LABEL, RUN_LABEL, ATTEMPT_LABEL = "quarkmed/stage", "quarkmed/stage-key", "quarkmed/run", "quarkmed/attempt"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"  # what the cluster marks a job's pods with
KEY_NOTE, FOLDER_NOTE, DIVISOR_NOTE = "quarkmed/stage-key", "quarkmed/folder", "quarkmed/micro-divisor"
FAILURE_RULES = (EXIT_USER_ERROR, EXIT_PREEMPTED, EXIT_OUT_OF_MEMORY, EXIT_DIVERGED)
POD_ENVIRONMENT = {**STAGE_ENVIRONMENT, "PYTHONUNBUFFERED": "1", "HOME": "/tmp"}


@dataclass(frozen=True)
class TrainingJob:
    """One attempt at a stage on a cluster.

    Attributes:
        stage: its name in dvc.yaml.
        stage_key: the digest of everything that determines its result, at least 16 hexadecimal digits.
        attempt: from 1; a new attempt is a new job.
        nodes: pods, one a node.
        grace_seconds: what a step and its checkpoint may take once the job is told to stop (system.grace_seconds).
        run: the id of the run it belongs to; "" where none is told.
        folder: the project's folder as pods see it, on their volume.
        micro_divisor: what micro_tokens is divided by.
        inset: what the kind of job puts between its name and a pod's index (components/launch/kubernetes_kinds.py).
    """

    namespace: str
    stage: str
    stage_key: str
    attempt: int
    nodes: int
    grace_seconds: float
    pod: TrainerPodSettings
    run: str = ""
    folder: str = PROJECT
    micro_divisor: int = 1
    inset: str = ""

    def __post_init__(self) -> None:
        if not STAGE.fullmatch(self.stage):
            raise SettingsError(f"stage {self.stage!r}: a cluster's names are made of it; use lower-case letters, digits and _, a letter first")
        if not KEY.fullmatch(self.stage_key):
            raise SettingsError(f"stage key {self.stage_key!r} of {self.stage}: expected at least 16 hexadecimal digits (components/pipeline/stage_key.py)")
        if self.attempt < 1 or self.nodes < 1:
            raise SettingsError(f"job of stage {self.stage}: attempt {self.attempt} and nodes {self.nodes} must be at least 1")
        if not self.grace_seconds > 0:
            raise SettingsError(f"job of stage {self.stage}: grace_seconds {self.grace_seconds} must be above 0")
        if not RUN.fullmatch(self.run):
            raise SettingsError(f"job of stage {self.stage}: run {self.run!r} cannot be a label; use at most 63 letters, digits, -, _ and .")
        if PurePosixPath(PROJECT) not in (PurePosixPath(self.folder), *PurePosixPath(self.folder).parents):
            raise SettingsError(f"job of stage {self.stage}: folder {self.folder} is not on the pods' volume, which is {PROJECT}")

    @property
    def name(self) -> str:
        """The name of the job and its service: `<stage>-<key>-<attempt>`, the stage cut where a host name would be too long.

        In a folder of its own (a run's worktree) the key's digits are those of key and folder: another folder's job is not ours.
        """
        key = self.stage_key if self.folder == PROJECT else digest_value([self.stage_key, self.folder])
        ending = f"-{key[:KEY_LENGTH]}-{self.attempt}"
        room = NAME_LENGTH - len(ending) - len(f"{self.inset}-{self.nodes - 1}") - (POD_ENDING if self.inset else 0)
        return self.stage.replace("_", "-")[:room].rstrip("-") + ending

    @property
    def meeting_place(self) -> str:
        """The address of the first pod within the job's service."""
        return f"{self.name}{self.inset}-0.{self.name}"

    @property
    def annotations(self) -> dict[str, str]:
        """What a run reads of a job it takes over."""
        return {KEY_NOTE: self.stage_key, FOLDER_NOTE: self.folder, DIVISOR_NOTE: str(self.micro_divisor)}

    @property
    def labels(self) -> dict[str, str]:
        """What a job, its pods and its service are found by."""
        labels = {
            "app.kubernetes.io/name": "quarkmed", "app.kubernetes.io/component": "trainer",
            STAGE_LABEL: self.stage, KEY_LABEL: self.stage_key[:LABEL_LENGTH], ATTEMPT_LABEL: str(self.attempt),
        }  # fmt: skip
        labels |= {RUN_LABEL: self.run} if self.run else {}
        return labels | ({QUEUE_LABEL: self.pod.queue} if self.pod.queue else {})


def job_manifest(job: TrainingJob) -> Manifest:
    """Return the Indexed Job."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": job.labels, "annotations": job.annotations},
        "spec": {
            "completionMode": "Indexed",
            "completions": job.nodes,
            "parallelism": job.nodes,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "activeDeadlineSeconds": math.ceil(job.pod.deadline_hours * 3600),
            "ttlSecondsAfterFinished": math.ceil(job.pod.keep_hours * 3600),
            "template": {"metadata": {"labels": job.labels}, "spec": _pod_spec(job)},
        },
    }


def service_manifest(job: TrainingJob, *, job_uid: str | None = None) -> Manifest:
    """Return the headless Service that gives the pods their names.

    Args:
        job_uid: of the created Job; the Service is then deleted with it.
    """
    metadata: Manifest = {"name": job.name, "namespace": job.namespace, "labels": job.labels}
    if job_uid is not None:
        metadata["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job_uid}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # ranks look for pod 0 while it starts
            "selector": {JOB_NAME_LABEL: job.name},
            "ports": [{"name": "rendezvous", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def training_command(job: TrainingJob) -> list[str]:
    """Return what a pod runs; Kubernetes puts the pod's index where `$(JOB_COMPLETION_INDEX)` stands."""
    smaller = ["--micro-divisor", str(job.micro_divisor)] if job.micro_divisor > 1 else []
    return [
        "python", "-m", "components.launch.torchrun",
        "--nnodes", str(job.nodes), "--nproc-per-node", str(job.pod.processes), "--node-rank", "$(JOB_COMPLETION_INDEX)",
        "--master-addr", job.meeting_place, "--master-port", str(PORT),
        "--shutdown-timeout", str(math.ceil(job.grace_seconds) + ANSWER_SECONDS),
        "--module", "flows.cli", "stage", job.stage, *smaller,
    ]  # fmt: skip


def _failure_rules() -> list[Manifest]:
    """Return one rule an exit code, so that the job's message tells which it was, then one for pods that are taken away."""
    codes = [{"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [code]}} for code in FAILURE_RULES]
    return [*codes, {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]


def _pod_spec(job: TrainingJob) -> Manifest:
    spec: Manifest = {
        "restartPolicy": "Never",
        "subdomain": job.name,
        "serviceAccountName": job.pod.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(job.grace_seconds) + END_SECONDS,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job)],
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{job.pod.shared_memory_gibibytes}Gi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": f"{job.pod.scratch_gibibytes}Gi"}},
            {"name": "project", "persistentVolumeClaim": {"claimName": job.pod.project_claim}},
        ],
    }  # fmt: skip
    if job.pod.node_selector:
        spec["nodeSelector"] = dict(job.pod.node_selector)
    if job.pod.tolerations:
        spec["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in job.pod.tolerations]
    return spec


def _container(job: TrainingJob) -> Manifest:
    return {
        "name": CONTAINER,
        "image": job.pod.image,
        "imagePullPolicy": "IfNotPresent",
        "command": training_command(job),
        "workingDir": job.folder,
        "env": [{"name": name, "value": value} for name, value in (POD_ENVIRONMENT | _log_of(job)).items()],
        "envFrom": [{"configMapRef": {"name": job.pod.environment_map}}, {"secretRef": {"name": job.pod.store_secret}}],
        "ports": [{"name": "rendezvous", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(job.pod),
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the failure's one line, in the pod's status
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "project", "mountPath": PROJECT},
        ],
    }


def _log_of(job: TrainingJob) -> dict[str, str]:
    """Return the variables by which a pod's processes log to the run's folder; none where the job belongs to no run."""
    return log_environment(Path(job.folder) / RUNS / job.run / "logs" / "stages.log") if job.run else {}


def _resources(pod: TrainerPodSettings) -> Manifest:
    """Return requests equal to limits: no pod is evicted for using what it asked for."""
    amounts = {"cpu": str(pod.cpus), "memory": f"{pod.memory_gibibytes}Gi", "ephemeral-storage": f"{pod.scratch_gibibytes}Gi"}
    if pod.gpus:
        amounts[pod.gpu_resource] = str(pod.gpus)
    return {"requests": dict(amounts), "limits": amounts}
