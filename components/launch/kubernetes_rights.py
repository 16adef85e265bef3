"""What the account of a run must be allowed in the cluster's namespace; the same as infra/kubernetes/base/worker-rights.yaml gives."""

from components.launch.kubernetes_api import KubernetesApi

# API group, resource, part of it, verbs.
RIGHTS = (
    ("batch", "jobs", "", ("create", "get", "list", "watch", "delete")),
    ("", "services", "", ("create", "delete")),
    ("", "pods", "", ("list",)),
    ("", "pods", "log", ("get",)),
)


def missing_rights(api: KubernetesApi, namespace: str) -> list[str]:
    """Return the rights this account lacks, such as "create jobs"; the API server is asked (SelfSubjectAccessReview).

    Raises:
        InfrastructureError: the API server does not answer.
        UserError: it does not know this account.
    """
    asked = [(verb, group, resource, part) for group, resource, part, verbs in RIGHTS for verb in verbs]
    return [
        f"{verb} {'/'.join(filter(None, (resource, part)))}"
        for verb, group, resource, part in asked
        if not api.may(verb, resource, group=group, namespace=namespace, part=part)
    ]
