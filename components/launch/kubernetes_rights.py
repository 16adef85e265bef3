"""What the account of a run must be allowed in the cluster's namespace, by the kind of its jobs.

The same as infra/kubernetes/base/worker-rights.yaml gives, and, for JobSets, infra/kubernetes/components/jobset with it.
"""

from components.launch.kubernetes_api import KubernetesApi
from components.settings.launching import ClusterJobKind

Right = tuple[str, str, str, tuple[str, ...]]  # API group, resource, part of it, verbs

MAKING = ("create", "get", "list", "watch", "delete")
PODS: tuple[Right, ...] = (("", "pods", "", ("list",)), ("", "pods", "log", ("get",)))
RIGHTS: dict[ClusterJobKind, tuple[Right, ...]] = {
    "job": (("batch", "jobs", "", MAKING), ("", "services", "", ("create", "get", "delete")), *PODS),
    "jobset": (("jobset.x-k8s.io", "jobsets", "", MAKING), ("batch", "jobs", "", ("get", "list")), *PODS),
}


def missing_rights(api: KubernetesApi, namespace: str, *, kind: ClusterJobKind) -> list[str]:
    """Return the rights this account lacks, such as "create jobs"; the API server is asked (SelfSubjectAccessReview).

    Raises:
        InfrastructureError: the API server does not answer.
        UserError: it does not know this account.
    """
    asked = [(verb, group, resource, part) for group, resource, part, verbs in RIGHTS[kind] for verb in verbs]
    return [
        f"{verb} {'/'.join(filter(None, (resource, part)))}"
        for verb, group, resource, part in asked
        if not api.may(verb, resource, group=group, namespace=namespace, part=part)
    ]
