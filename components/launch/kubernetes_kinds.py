"""What the backend asks of the cluster about its jobs, and the plain kind of `launch.cluster.kind`: an Indexed Job with a headless Service.

Each kind makes, finds, lists and deletes the jobs of one namespace in calls that may be repeated, and gives what it finds in
the shape of a Job (batch/v1): so what a job is at, and how it ended, is read in one way (components/launch/kubernetes_ends.py).
"""

from collections.abc import Callable
from typing import Any, Protocol

from components.launch.kubernetes_api import KubernetesApi
from components.launch.kubernetes_job import JOB_NAME_LABEL, TrainingJob, job_manifest, service_manifest
from components.launch.kubernetes_jobset import JobSets
from components.settings.launching import ClusterJobKind

Object = dict[str, Any]


class JobKind(Protocol):
    """The jobs of a namespace. Every method makes its calls once; each raises `ApiUnreachable` where the API does not answer.

    Attributes:
        pod_label: the label that a job's pods have, with the job's name as value.
        inset: what stands between a job's name and a pod's index in the pod's host name.
    """

    pod_label: str
    inset: str

    def check(self) -> None:
        """Have an answer of the cluster.

        Raises:
            UserError: rights are missing, or the cluster does not know this kind.
        """

    def create(self, job: TrainingJob) -> tuple[Object, bool]:
        """Make a job where it is not there yet; return what was made or found, and whether it was made by this call."""

    def complete(self, job: TrainingJob, made: Object) -> None:
        """Make what a job needs beside it, where that is not the cluster's part."""

    def find(self, name: str) -> Object | None:
        """Return a job, None where there is none of that name."""

    def where(self, selector: str) -> list[Object]:
        """Return the jobs of a label selector."""

    def delete(self, name: str) -> None:
        """Ask for the end of a job, and of what was made for it, its pods first; one that is gone is no error."""

    def wait_for_change(self, name: str, *, version: str, seconds: float) -> bool:
        """Watch for a job's next change after a version; return whether there was one within the time."""


class IndexedJobs:
    """Indexed Jobs, each owner of a Service that gives its pods their names."""

    pod_label = JOB_NAME_LABEL
    inset = ""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._services = f"/api/v1/namespaces/{namespace}/services"

    def check(self) -> None:
        """Have an answer of the cluster."""
        self._api.get(self._jobs, limit="1")

    def create(self, job: TrainingJob) -> tuple[Object, bool]:
        """Make a job where it is not there yet."""
        return self._api.create_or_get(self._jobs, job_manifest(job))

    def complete(self, job: TrainingJob, made: Object) -> None:
        """Make a job's service where it is not there yet."""
        self._api.create_or_get(self._services, service_manifest(job, job_uid=made["metadata"].get("uid")))

    def find(self, name: str) -> Object | None:
        """Return a job."""
        return self._api.find(f"{self._jobs}/{name}")

    def where(self, selector: str) -> list[Object]:
        """Return the jobs of a label selector."""
        items: list[Object] = self._api.get(self._jobs, labelSelector=selector).get("items", [])
        return items

    def delete(self, name: str) -> None:
        """Delete a job and its service, which may be there without its job."""
        self._api.delete(f"{self._jobs}/{name}")
        self._api.delete(f"{self._services}/{name}")

    def wait_for_change(self, name: str, *, version: str, seconds: float) -> bool:
        """Watch a job."""
        return self._api.wait_for_change(self._jobs, name=name, version=version, seconds=seconds)


KINDS: dict[ClusterJobKind, Callable[[KubernetesApi, str], JobKind]] = {"job": IndexedJobs, "jobset": JobSets}
