"""The other kind of job: a JobSet (kubernetes-sigs/jobset, v1alpha2) of one replicated Indexed Job, by `launch.cluster.kind: jobset`.

Source: that project's API types. Its controller makes the headless service, named as the JobSet, and one Job, whose pods are
`<jobset>-nodes-0-<index>` and meet at `<jobset>-nodes-0-0.<jobset>`. It restarts nothing (`maxRestarts: 0`): trying again is ours.
Kueue's queue label stands on the JobSet alone, which Kueue's webhook suspends until it is admitted. The JobSet says that it
ended; its Job says how, by the failure rules that a plain Job of ours has: `as_job` puts both into the shape of a Job.
"""

from typing import Any

from components.errors import UserError
from components.launch.kubernetes_api import ApiRefused, KubernetesApi
from components.launch.kubernetes_job import QUEUE_LABEL, Manifest, TrainingJob, job_manifest

Object = dict[str, Any]

NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"  # what the controller marks Jobs and pods with
NODES = "nodes"  # the replicated job's name
INSET = f"-{NODES}-0"  # between a JobSet's name and a pod's index


class JobSets:
    """JobSets, each owner of its service and its Job."""

    pod_label = NAME_LABEL
    inset = INSET

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._jobsets = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets"
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def check(self) -> None:
        """Have an answer of the cluster.

        Raises:
            UserError: rights are missing, or JobSet is not installed.
        """
        try:
            self._api.get(self._jobsets, limit="1")
        except ApiRefused as error:
            if error.status != 404:
                raise
            raise UserError("launch.cluster.kind is jobset, and this cluster knows no JobSet; install its controller (jobset.sigs.k8s.io), or set kind to job") from None

    def create(self, job: TrainingJob) -> tuple[Object, bool]:
        """Make a JobSet where it is not there yet."""
        return self._api.create_or_get(self._jobsets, jobset_manifest(job))

    def complete(self, job: TrainingJob, made: Object) -> None:
        """Make nothing: the rest is the controller's."""

    def find(self, name: str) -> Object | None:
        """Return a JobSet as a Job."""
        jobset = self._api.find(f"{self._jobsets}/{name}")
        return None if jobset is None else as_job(jobset, self._api.find(f"{self._jobs}/{name}{INSET}"))

    def where(self, selector: str) -> list[Object]:
        """Return the JobSets of a label selector as Jobs; their own Jobs have the same labels."""
        jobsets = self._api.get(self._jobsets, labelSelector=selector).get("items", [])
        jobs = self._api.get(self._jobs, labelSelector=f"{selector},{NAME_LABEL}").get("items", []) if jobsets else []
        of = {job["metadata"]["labels"][NAME_LABEL]: job for job in jobs}
        return [as_job(jobset, of.get(jobset["metadata"]["name"])) for jobset in jobsets]

    def delete(self, name: str) -> None:
        """Delete a JobSet; its pods end first, then its Job and service go."""
        self._api.delete(f"{self._jobsets}/{name}")

    def wait_for_change(self, name: str, *, version: str, seconds: float) -> bool:
        """Watch a JobSet, whose status counts what its Job is at."""
        return self._api.wait_for_change(self._jobsets, name=name, version=version, seconds=seconds)


def jobset_manifest(job: TrainingJob) -> Manifest:
    """Return the JobSet of one attempt; `job.inset` must be `INSET`.

    Its Job is that of the plain kind, but for what is the JobSet's to say: how long it is kept (a Job that went first would
    be made again), the queue it waits in, and whose it is.
    """
    spec = job_manifest(job)["spec"]
    labels = {name: value for name, value in job.labels.items() if name != QUEUE_LABEL}
    keep_seconds = spec.pop("ttlSecondsAfterFinished")
    spec["template"]["metadata"]["labels"] = labels
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": job.labels, "annotations": job.annotations},
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": job.name, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": 0},
            "ttlSecondsAfterFinished": keep_seconds,
            "replicatedJobs": [{"name": NODES, "replicas": 1, "template": {"metadata": {"labels": labels}, "spec": spec}}],
        },
    }


def as_job(jobset: Object, job: Object | None) -> Object:
    """Return a JobSet in the shape of a Job: itself, with its Job's conditions before its own.

    Args:
        job: its Job, None where there is none yet, or none any more.
    """
    own = jobset.get("status", {}).get("conditions") or []
    conditions = [
        *((job or {}).get("status", {}).get("conditions") or []),
        *({**condition, "type": "Complete"} for condition in own if condition["type"] == "Completed"),
        *(condition for condition in own if condition["type"] == "Failed"),
    ]
    return {"metadata": jobset["metadata"], "spec": {"suspend": jobset["spec"].get("suspend", False)}, "status": {"conditions": conditions}}
