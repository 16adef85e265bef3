"""Who may talk to whom on the cluster: what the policies let through together is exactly the table here, and no more."""

import ipaddress
from typing import Any

import pytest

FOLDERS = ["base", "overlays/gpu", "overlays/rehearsal"]
PODS = {"prefect-server": "quarkmed", "mlflow-server": "quarkmed", "worker": "quarkmed-training", "trainer": "quarkmed-training", "metrics": "quarkmed-training"}
INSIDE = {("worker", "prefect-server", 4200, 4200), ("worker", "mlflow-server", 5000, 5000), ("trainer", "trainer", 1024, 65535)}
OUTSIDE = {
    ("prefect-server", "to-databases"), ("mlflow-server", "to-databases"), ("mlflow-server", "to-object-store"),
    ("worker", "to-databases"), ("metrics", "to-databases"), ("worker", "to-object-store"), ("worker", "to-cluster-api"), ("worker", "to-repository"), ("trainer", "to-object-store"),
}  # fmt: skip
FROM_OTHERS = {("metrics", 9217)}  # from namespaces that are not ours
DOCUMENTATION = ipaddress.ip_network("192.0.2.0/24")  # RFC 5737
Manifest = dict[str, Any]


@pytest.fixture(params=FOLDERS)
def policies(request, rendered) -> list[Manifest]:
    return [item for item in rendered(request.param) if item["kind"] == "NetworkPolicy"]


def _selects(selector: Manifest, component: str) -> bool:
    """Say whether a selector takes the pods of a component; labels other than the component's are not among ours."""
    labels = {"app.kubernetes.io/name": "quarkmed", "app.kubernetes.io/component": component}
    by_label = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return by_label and all(labels.get(item["key"]) in item["values"] for item in selector.get("matchExpressions", []) if item["operator"] == "In")


def _peers(rule: Manifest, key: str, home: str) -> set[str]:
    """Return the components that a rule's `from` or `to` names; `home` is the policy's own namespace."""
    found = set()
    for peer in rule[key]:
        if "podSelector" in peer:
            namespace = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", home)
            found |= {name for name, place in PODS.items() if place == namespace and _selects(peer["podSelector"], name)}
    return found


def _allowed(policies: list[Manifest], direction: str) -> set[tuple[str, str, int, int]]:
    """Return (from, to, first port, last port) of what one direction's rules allow between our pods."""
    key = {"ingress": "from", "egress": "to"}[direction]
    found = set()
    for policy in policies:
        home = policy["metadata"]["namespace"]
        for rule in policy["spec"].get(direction, []):
            for own in (name for name, place in PODS.items() if place == home and _selects(policy["spec"]["podSelector"], name)):
                for other in _peers(rule, key, home):
                    ends = (other, own) if direction == "ingress" else (own, other)
                    found |= {(*ends, port["port"], port.get("endPort", port["port"])) for port in rule["ports"] if port["protocol"] == "TCP"}
    return found


def test_everything_is_denied_first(policies):
    denying = [item for item in policies if item["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
    assert {item["metadata"]["namespace"] for item in denying} == {"quarkmed", "quarkmed-training"}


def test_what_both_ends_allow_is_the_table(policies):
    assert _allowed(policies, "egress") == _allowed(policies, "ingress") == INSIDE


def test_from_other_namespaces_only_prometheus_comes_in_and_only_where_its_namespace_is_labelled(policies):
    found = set()
    for policy in policies:
        home = policy["metadata"]["namespace"]
        for rule in policy["spec"].get("ingress", []):
            for peer in rule["from"]:
                labels = peer.get("namespaceSelector", {}).get("matchLabels", {"kubernetes.io/metadata.name": home})
                if labels.get("kubernetes.io/metadata.name") not in PODS.values():
                    assert peer == {
                        "namespaceSelector": {"matchLabels": {"quarkmed-metrics": "read"}}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
                    }  # fmt: skip
                    own = [name for name, place in PODS.items() if place == home and _selects(policy["spec"]["podSelector"], name)]
                    found |= {(name, port["port"]) for name in own for port in rule["ports"]}
    assert found == FROM_OTHERS


def test_out_of_the_cluster_go_only_these(policies):
    found = set()
    for policy in policies:
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if "ipBlock" in peer:
                    home = policy["metadata"]["namespace"]
                    found |= {(name, policy["metadata"]["name"]) for name, place in PODS.items() if place == home and _selects(policy["spec"]["podSelector"], name)}
    assert found == OUTSIDE


def test_addresses_as_shipped_reach_nothing(policies):
    blocks = [peer["ipBlock"]["cidr"] for policy in policies for rule in policy["spec"].get("egress", []) for peer in rule["to"] if "ipBlock" in peer]
    assert len(blocks) == 6
    assert all(ipaddress.ip_network(block).subnet_of(DOCUMENTATION) for block in blocks)


def test_a_site_names_an_address_once_for_all_who_go_there(policies):
    blocks: dict[str, set[str]] = {}
    for policy in policies:
        for rule in policy["spec"].get("egress", []):
            blocks.setdefault(policy["metadata"]["name"], set()).update(peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer)
    assert {name: len(found) for name, found in blocks.items() if found} == {"to-databases": 1, "to-object-store": 1, "to-cluster-api": 1, "to-repository": 1}


def test_every_rule_names_its_peers_and_ports(policies):
    # a rule without `to`, `from` or `ports` allows all of them
    for policy in policies:
        for direction, key in (("ingress", "from"), ("egress", "to")):
            assert direction not in policy["spec"] or direction.capitalize() in policy["spec"]["policyTypes"]
            for rule in policy["spec"].get(direction, []):
                assert rule.get(key) and rule.get("ports"), policy["metadata"]
                assert all(peer and (peer.get("podSelector") or peer.get("ipBlock")) for peer in rule[key]), policy["metadata"]


def test_all_pods_may_ask_for_names(policies):
    asking = [item for item in policies if item["metadata"]["name"] == "names"]
    assert {item["metadata"]["namespace"] for item in asking} == {"quarkmed", "quarkmed-training"}
    for policy in asking:
        assert policy["spec"]["podSelector"] == {}
        assert [(port["protocol"], port["port"]) for port in policy["spec"]["egress"][0]["ports"]] == [("UDP", 53), ("TCP", 53)]


def test_a_policy_that_opens_more_is_seen(policies):
    # trainers reach MLflow as soon as both ends say so
    for policy in policies:
        if (policy["metadata"]["name"], policy["metadata"]["namespace"]) == ("mlflow-server", "quarkmed"):
            policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"] = {"app.kubernetes.io/component": "trainer"}
    assert ("trainer", "mlflow-server", 5000, 5000) in _allowed(policies, "ingress") - INSIDE
