"""The rights a run needs are those the manifests give, and doctor names the missing ones."""

import shutil
from pathlib import Path

import pytest
import yaml

from components.errors import UserError
from components.launch.kubernetes_rights import RIGHTS
from flows.doctor_checks import all_findings, check_cluster

ROOT = Path(__file__).parents[2]


def findings(cluster):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    (cluster.root / "params.yaml").write_text(yaml.safe_dump({**values, "launch": cluster.launch}))
    return list(check_cluster(cluster.root))


@pytest.mark.parametrize("kind", RIGHTS)
def test_the_manifests_give_what_is_asked_for(kind):
    role = next(iter(yaml.safe_load_all((ROOT / "infra/kubernetes/base/worker-rights.yaml").read_text())))
    component = yaml.safe_load((ROOT / "infra/kubernetes/components/jobset/kustomization.yaml").read_text())
    added = [change["value"] for patch in component["patches"] if patch["target"]["kind"] == "Role" for change in yaml.safe_load(patch["patch"])]
    rules = [*role["rules"], *(added if kind == "jobset" else [])]
    given = {(group, resource): set(rule["verbs"]) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    for group, resource, part, verbs in RIGHTS[kind]:
        assert set(verbs) <= given[group, f"{resource}/{part}" if part else resource]


def test_the_cluster_is_looked_at_where_stages_go_there(cluster):
    (found,) = findings(cluster)
    assert found.is_ok and cluster.server.address in found.says and found.says.endswith("namespace n")
    cluster.launch["backend"] = "local"
    assert findings(cluster) == []


def test_rights_to_jobsets_are_asked_for_where_stages_are_jobsets(cluster):
    cluster.launch["cluster"]["kind"] = "jobset"
    cluster.server.denied = {("create", "jobsets"), ("create", "jobs")}
    (found,) = findings(cluster)
    assert not found.is_ok and found.says.endswith("may not create jobsets") and "components/jobset" in found.to_do
    cluster.server.denied, cluster.server.jobsets.is_installed = set(), False
    with pytest.raises(UserError, match="knows no JobSet"):
        findings(cluster)


def test_missing_rights_and_a_silent_cluster_are_faults(cluster):
    cluster.server.denied = {("create", "jobs"), ("get", "pods/log")}
    (found,) = findings(cluster)
    assert not found.is_ok and "may not create jobs; may not get pods/log" in found.says and "worker-rights.yaml" in found.to_do
    shutil.copyfile(ROOT / "dvc.yaml", cluster.root / "dvc.yaml")
    with cluster.server.outage():
        (silent,) = [item for item in all_findings(cluster.root, free_gib=0) if item.part == "cluster"]
    assert not silent.is_ok and "no answer" in silent.says
