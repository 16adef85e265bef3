"""Every manifest of base and overlays: what Kubernetes accepts, what the policies of this project demand, and what belongs together."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.launch.kubernetes_job import TrainingJob, job_manifest, service_manifest
from components.settings.cluster import load_trainer_pods
from components.settings.settings import load_settings
from components.tracking.addresses import DATABASE_VARIABLE

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
FOLDERS = ["base", *(f"overlays/{name}" for name in OVERLAYS)]
VERSIONS = ["1.31", "1.36"]  # the oldest the manifests are meant for (podFailurePolicy is stable since), and a new one
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN(?!IZER)|ACCESS_KEY|AUTH_STRING|CREDENTIAL|CONNECTION_URL|STORE_URI", re.IGNORECASE)
SECRET_VALUE = re.compile(r"://[^/\s:@]+:[^/\s@]+@|AKIA[0-9A-Z]{16}|-----BEGIN")
MAKING = ["create", "get", "list", "watch", "delete"]
RIGHTS = {("batch", "jobs"): MAKING, ("", "services"): MAKING, ("", "pods"): ["get", "list", "watch"], ("", "pods/log"): ["get"]}
Manifest = dict[str, Any]


@pytest.fixture(params=FOLDERS)
def manifests(request, rendered) -> list[Manifest]:
    """The manifests of base and of each overlay in turn."""
    return rendered(request.param)


@pytest.fixture(params=OVERLAYS)
def job(request, rendered, tmp_path) -> TrainingJob:
    """A training job of two nodes, as each overlay's worker would make it."""
    (settings,) = [item for item in rendered(f"overlays/{request.param}") if item["metadata"]["name"] == "trainer-pods"]
    path = tmp_path / "trainer-pods.yaml"
    path.write_text(settings["data"]["trainer-pods.yaml"], encoding="utf-8")
    grace = load_settings(ROOT / "params.yaml").system.grace_seconds
    return TrainingJob("quarkmed-training", "grpo_reasoning", "0123456789abcdef" * 4, attempt=1, nodes=2, grace_seconds=grace, pod=load_trainer_pods(path))


def _named(manifests: list[Manifest], kind: str, name: str, namespace: str | None = None) -> Manifest:
    (found,) = [item for item in manifests if (item["kind"], item["metadata"]["name"]) == (kind, name) and namespace in (None, item["metadata"].get("namespace"))]
    return found


def _kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [item for item in manifests if item["kind"] == kind]


def _rights(role: Manifest) -> dict[tuple[str, str], list[str]]:
    """Return the verbs of a role by API group and resource."""
    return {(group, resource): rule["verbs"] for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]}


def _containers(workload: Manifest) -> list[Manifest]:
    pod = workload["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def violations(workload: Manifest) -> list[str]:
    """Return what of a Deployment or Job breaks the rules for pods."""
    pod = workload["spec"]["template"]["spec"]
    broken = []
    user = pod.get("securityContext", {})
    if not user.get("runAsNonRoot") or not user.get("runAsUser", 0) > 0:
        broken.append("runs as root")
    if user.get("seccompProfile") != {"type": "RuntimeDefault"}:
        broken.append("no seccomp profile")
    if pod.get("serviceAccountName", "default") == "default" or "automountServiceAccountToken" not in pod:
        broken.append("no account of its own")
    if any("hostPath" in volume for volume in pod["volumes"]) or any(key.startswith("host") for key in pod):
        broken.append("touches the host")
    if any("sizeLimit" not in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume):
        broken.append("unbounded scratch volume")
    for container in _containers(workload):
        rights, limits = container.get("securityContext", {}), container.get("resources", {}).get("limits", {})
        if rights.get("allowPrivilegeEscalation") is not False or rights.get("privileged") or rights.get("runAsUser") == 0:
            broken.append("privilege escalation")
        if rights.get("capabilities") != {"drop": ["ALL"]}:
            broken.append("capabilities")
        if rights.get("readOnlyRootFilesystem") is not True:
            broken.append("writable root")
        if not {"cpu", "memory"} <= set(limits) or not {"cpu", "memory"} <= set(container["resources"].get("requests", {})):
            broken.append("no limits")
        if not re.fullmatch(r"\S+:(?!latest$)[\w.-]+", container["image"]):
            broken.append("image without version")
        broken += [f"literal secret {item['name']}" for item in container.get("env", []) if SECRET_NAME.search(item["name"]) and "value" in item]
    return broken


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_schemas(rendered, version):
    distinct = {json.dumps(manifest, sort_keys=True): manifest for folder in FOLDERS for manifest in rendered(folder)}
    assert len(distinct) > len(rendered("base"))
    for manifest in distinct.values():
        assert kubernetes_validate.validate(manifest, version, strict=True) == version, manifest["metadata"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_jobs_of_each_overlay_fit_the_schemas(job, version):
    for manifest in (job_manifest(job), service_manifest(job)):
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_every_file_is_named_by_its_kustomization():
    for folder in FOLDERS:
        plan = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text(encoding="utf-8"))
        files = {path.name for path in (KUBERNETES / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in plan["resources"] if name.endswith(".yaml")} == files


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl brings kustomize; without it the overlays are rendered by conftest.py alone")
@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_makes_of_an_overlay_what_these_tests_read(folder, rendered):
    done = subprocess.run(["kubectl", "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=True, timeout=60)
    theirs = [item for item in yaml.safe_load_all(done.stdout) if item]
    key = lambda item: (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])  # noqa: E731
    assert sorted(theirs, key=key) == sorted(rendered(folder), key=key)


def test_no_two_manifests_are_the_same_object(manifests):
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in manifests]
    assert len(keys) == len(set(keys))
    assert {namespace for kind, namespace, _ in keys if kind != "Namespace"} == {"quarkmed", "quarkmed-training"}


def test_namespaces_enforce_the_restricted_standard(manifests):
    for namespace in _kind(manifests, "Namespace"):
        labels = namespace["metadata"]["labels"]
        assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
        assert re.fullmatch(r"v1\.\d+", labels["pod-security.kubernetes.io/enforce-version"])


def test_every_deployment_keeps_the_rules(manifests):
    assert {item["metadata"]["name"]: violations(item) for item in _kind(manifests, "Deployment")} == {name: [] for name in ("prefect-server", "mlflow-server", "worker", "metrics")}


def test_only_the_worker_may_write_the_projects_volume(manifests):
    writers = set()
    for workload in _kind(manifests, "Deployment"):
        pod = workload["spec"]["template"]["spec"]
        claims = {volume["name"]: volume["persistentVolumeClaim"].get("readOnly", False) for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
        for container in _containers(workload):
            mounts = [mount for mount in container["volumeMounts"] if mount["name"] in claims]
            writers |= {container["name"] for mount in mounts if not (mount.get("readOnly") and claims[mount["name"]])}
    assert writers == {"project", "worker"}  # what clones, and the worker itself


def test_every_training_job_keeps_the_rules(job):
    assert violations(job_manifest(job)) == []


@pytest.mark.parametrize(
    ("path", "value", "broken"),
    [
        ("securityContext/runAsUser", 0, "runs as root"),
        ("securityContext/seccompProfile", {"type": "Unconfined"}, "no seccomp profile"),
        ("serviceAccountName", "default", "no account of its own"),
        ("hostNetwork", True, "touches the host"),
        ("volumes/0/emptyDir", {}, "unbounded scratch volume"),
        ("containers/0/securityContext/allowPrivilegeEscalation", True, "privilege escalation"),
        ("containers/0/securityContext/capabilities", {"drop": ["NET_RAW"]}, "capabilities"),
        ("containers/0/securityContext/readOnlyRootFilesystem", False, "writable root"),
        ("containers/0/resources/limits", {"cpu": "1"}, "no limits"),
        ("containers/0/image", "quarkmed-control:latest", "image without version"),
        ("containers/0/image", "quarkmed-control", "image without version"),
        ("containers/0/env/0", {"name": "DATABASE_PASSWORD", "value": "x"}, "literal secret DATABASE_PASSWORD"),
    ],
)
def test_the_rules_find_what_breaks_them(rendered, path, value, broken):
    workload = copy.deepcopy(_named(rendered("base"), "Deployment", "prefect-server"))
    at: Any = workload["spec"]["template"]["spec"]
    *parts, last = path.split("/")
    for part in parts:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[int(last) if isinstance(at, list) else last] = value
    assert violations(workload) == [broken]


def test_no_secret_is_written_down(manifests):
    assert _kind(manifests, "Secret") == []
    for config in _kind(manifests, "ConfigMap"):
        assert not [name for name in config["data"] if SECRET_NAME.search(name)]
    assert not SECRET_VALUE.search(json.dumps(manifests))


def test_the_promotion_journal_is_in_the_database_and_the_worker_and_the_metrics_know_that_password_alone(manifests):
    keys = {}
    for workload in _kind(manifests, "Deployment"):
        for container in _containers(workload):
            for item in container.get("env", []):
                if item.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "databases":
                    keys.setdefault(workload["metadata"]["name"], {})[item["name"]] = item["valueFrom"]["secretKeyRef"]["key"]
    journal = {"MLFLOW_BACKEND_STORE_URI": "mlflow-url"}  # by which components/tracking/addresses.py finds it
    assert DATABASE_VARIABLE in journal
    assert keys == {"worker": journal, "metrics": journal, "mlflow-server": journal, "prefect-server": {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "prefect-url"}}


def test_only_the_worker_has_rights_and_they_are_these(manifests):
    assert not {"ClusterRole", "ClusterRoleBinding"} & {item["kind"] for item in manifests}
    (role,), (binding,) = _kind(manifests, "Role"), _kind(manifests, "RoleBinding")
    assert _rights(role) == RIGHTS
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "worker", "namespace": "quarkmed-training"}]
    assert {item["metadata"]["namespace"] for item in (role, binding)} == {"quarkmed-training"}
    mounting = [item["metadata"]["name"] for item in _kind(manifests, "Deployment") if item["spec"]["template"]["spec"]["automountServiceAccountToken"]]
    assert mounting == ["worker"]
    assert {item["automountServiceAccountToken"] for item in _kind(manifests, "ServiceAccount")} == {False}


def test_the_component_of_jobsets_adds_their_rights_and_a_bound_and_nothing_else(rendered, with_jobsets):
    before, after = rendered("overlays/gpu"), with_jobsets(rendered("overlays/gpu"))
    (role,), (quota,) = _kind(after, "Role"), _kind(after, "ResourceQuota")
    assert _rights(role) == RIGHTS | {("jobset.x-k8s.io", "jobsets"): MAKING}
    assert quota["spec"]["hard"]["count/jobsets.jobset.x-k8s.io"] == quota["spec"]["hard"]["count/jobs.batch"]
    changed = [new["kind"] for old, new in zip(before, after, strict=True) if old != new]
    assert sorted(changed) == ["ResourceQuota", "Role"]
    for manifest in (role, quota):
        assert kubernetes_validate.validate(manifest, VERSIONS[0], strict=True) == VERSIONS[0]


def test_pods_name_accounts_and_settings_that_exist(manifests):
    for workload in _kind(manifests, "Deployment"):
        namespace, pod = workload["metadata"]["namespace"], workload["spec"]["template"]["spec"]
        _named(manifests, "ServiceAccount", pod["serviceAccountName"], namespace)
        for container in _containers(workload):
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    _named(manifests, "ConfigMap", source["configMapRef"]["name"], namespace)
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                _named(manifests, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], namespace)


def test_a_training_pod_names_what_its_overlay_has(job, rendered, request):
    manifests, pod = rendered(f"overlays/{request.node.callspec.params['job']}"), job_manifest(job)["spec"]["template"]["spec"]
    _named(manifests, "ServiceAccount", pod["serviceAccountName"], "quarkmed-training")
    _named(manifests, "ConfigMap", pod["containers"][0]["envFrom"][0]["configMapRef"]["name"], "quarkmed-training")
    _named(manifests, "PersistentVolumeClaim", pod["volumes"][2]["persistentVolumeClaim"]["claimName"], "quarkmed-training")
    assert pod["automountServiceAccountToken"] is False
    assert (job.pod.gpus, job.pod.queue) == {"gpu": (8, "training"), "rehearsal": (0, "")}[request.node.callspec.params["job"]]


def test_services_and_budgets_select_pods_by_labels_they_have(manifests):
    pods = {item["metadata"]["name"]: item["spec"]["template"] for item in _kind(manifests, "Deployment")}
    for service in _kind(manifests, "Service"):
        template = pods[service["metadata"]["name"]]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        named = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert [named[port["targetPort"]] for port in service["spec"]["ports"]] == [port["port"] for port in service["spec"]["ports"]]
    for budget in _kind(manifests, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"].items() <= pods[budget["metadata"]["name"]]["metadata"]["labels"].items()
    for name, template in pods.items():
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        probes = [template["spec"]["containers"][0].get(f"{kind}Probe") for kind in ("startup", "liveness")]
        assert all(probe is not None and probe["httpGet"]["port"] in ports for probe in probes), name


def test_every_secret_is_made_by_a_command_of_the_cluster_page(manifests, job):
    page = (ROOT / "docs" / "operations" / "cluster.md").read_text(encoding="utf-8")
    written = re.findall(r"kubectl -n (\S+) create secret generic (\S+) (.*)", page)
    made = {(namespace, name): set(re.findall(r"--from-file=(\S+)", keys)) for namespace, name, keys in written}
    for workload in (*_kind(manifests, "Deployment"), job_manifest(job)):
        namespace = workload["metadata"]["namespace"]
        for container in _containers(workload):
            for item in container.get("env", []):
                if "valueFrom" in item:
                    assert item["valueFrom"]["secretKeyRef"]["key"] in made[namespace, item["valueFrom"]["secretKeyRef"]["name"]]
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    assert made[namespace, source["secretRef"]["name"]] == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        for volume in workload["spec"]["template"]["spec"]["volumes"]:
            assert "secret" not in volume or (namespace, volume["secret"]["secretName"]) in made
