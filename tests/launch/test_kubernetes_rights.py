"""The rights a run needs are those the manifests give, and doctor names the missing ones."""

import shutil
from pathlib import Path

import yaml

from components.launch.kubernetes_rights import RIGHTS
from flows.doctor_checks import all_findings, check_cluster

ROOT = Path(__file__).parents[2]


def findings(cluster):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    (cluster.root / "params.yaml").write_text(yaml.safe_dump({**values, "launch": cluster.launch}))
    return list(check_cluster(cluster.root))


def test_the_manifests_give_what_is_asked_for():
    role = next(iter(yaml.safe_load_all((ROOT / "infra/kubernetes/base/worker-rights.yaml").read_text())))
    given = {(group, resource): set(rule["verbs"]) for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]}
    for group, resource, part, verbs in RIGHTS:
        assert set(verbs) <= given[group, f"{resource}/{part}" if part else resource]


def test_the_cluster_is_looked_at_where_stages_go_there(cluster):
    (found,) = findings(cluster)
    assert found.is_ok and cluster.server.address in found.says and found.says.endswith("namespace n")
    cluster.launch["backend"] = "local"
    assert findings(cluster) == []


def test_missing_rights_and_a_silent_cluster_are_faults(cluster):
    cluster.server.denied = {("create", "jobs"), ("get", "pods/log")}
    (found,) = findings(cluster)
    assert not found.is_ok and "may not create jobs; may not get pods/log" in found.says and "worker-rights.yaml" in found.to_do
    shutil.copyfile(ROOT / "dvc.yaml", cluster.root / "dvc.yaml")
    with cluster.server.outage():
        (silent,) = [item for item in all_findings(cluster.root, free_gib=0) if item.part == "cluster"]
    assert not silent.is_ok and "no answer" in silent.says
