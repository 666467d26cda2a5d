"""Policies, read as the network would: who may reach whom, on which port."""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.network import render_network
from plan.manifests.sites import CHAT, DATABASE, OPEN, site_from

Policies = list[dict[str, Any]]


def _policies(spec: str = CHAT + OPEN) -> Policies:
    return [manifest.object["spec"] for manifest in render_network(site_from(spec))]


def _labels(component: str, model: str | None = None) -> dict[str, str]:
    labels = {"penstock.dev/fleet": "demo", "app.kubernetes.io/component": component}
    return {**labels, **({"penstock.dev/model": model} if model else {})}


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector["matchLabels"].items() <= labels.items()


def _may(policies: Policies, way: str, pod: dict[str, str], other: dict[str, str] | str | None, port: int) -> bool:
    """Whether a pod may talk in one direction with another pod, a namespace, or (None) any address."""
    field = {"Ingress": "from", "Egress": "to"}[way]
    rules = [
        rule
        for policy in policies
        if way in policy["policyTypes"] and _matches(policy["podSelector"], pod)
        for rule in policy.get(way.lower(), [])
    ]
    return any(_rule_allows(rule, rule.get(field), other, port) for rule in rules)


def _rule_allows(rule: dict[str, Any], peers: Any, other: dict[str, str] | str | None, port: int) -> bool:
    if "ports" in rule and port not in [entry["port"] for entry in rule["ports"] if entry["protocol"] == "TCP"]:
        return False
    if peers is None:
        return True
    match other:
        case dict():
            return any(
                "podSelector" in p and "namespaceSelector" not in p and _matches(p["podSelector"], other) for p in peers
            )
        case str():
            name = {"kubernetes.io/metadata.name": other}
            return any(p.get("namespaceSelector", {}).get("matchLabels") == name for p in peers)
        case None:
            return False


GATEWAY, ENGINE, JOB = _labels("gateway"), _labels("engine", "demo-chat"), _labels("models")


def test_every_pod_of_the_fleet_is_closed_both_ways() -> None:
    deny = _policies()[0]
    assert deny == {
        "podSelector": {"matchLabels": {"penstock.dev/fleet": "demo"}},
        "policyTypes": ["Ingress", "Egress"],
    }


def test_clients_reach_the_gateway_and_not_its_admin_port() -> None:
    policies = _policies()
    assert _may(policies, "Ingress", GATEWAY, None, 8080)
    assert not _may(policies, "Ingress", GATEWAY, None, 8081)


def test_engines_are_reached_by_the_gateway_alone() -> None:
    policies = _policies()
    assert _may(policies, "Ingress", ENGINE, GATEWAY, 8000)
    assert _may(policies, "Egress", GATEWAY, ENGINE, 8000)
    assert not _may(policies, "Ingress", ENGINE, None, 8000)
    assert not _may(policies, "Ingress", ENGINE, JOB, 8000)


def test_prometheus_is_let_in_where_there_is_one() -> None:
    watched = _policies(CHAT + OPEN + "  monitoring: {namespace: observe}\n")

    assert _may(watched, "Ingress", ENGINE, "observe", 8000)
    assert _may(watched, "Ingress", GATEWAY, "observe", 8081)
    assert not _may(_policies(), "Ingress", GATEWAY, "observe", 8081)


def test_the_gateway_reaches_the_api_server_and_engines_do_not() -> None:
    policies = _policies()
    assert _may(policies, "Egress", GATEWAY, None, 443)
    assert _may(policies, "Egress", GATEWAY, None, 6443)
    assert not _may(policies, "Egress", ENGINE, None, 443)


def test_who_downloads_gets_out_and_nobody_else() -> None:
    own = _policies(CHAT.replace("replicas: 2", "storage: {mode: none}") + OPEN)

    assert _may(own, "Egress", ENGINE, None, 443)
    assert _may(_policies(), "Egress", JOB, None, 443)


def test_a_mirror_on_another_port_is_reached() -> None:
    mirror = "storage: {mode: none}, engine: {env: {HF_ENDPOINT: 'http://mirror.example:8081/hub'}}"
    policies = _policies(CHAT.replace("replicas: 2", mirror) + OPEN)

    assert _may(policies, "Egress", ENGINE, None, 8081)


def test_a_replica_of_several_pods_talks_among_itself_only() -> None:
    big = "  models: [{name: big, source: Qwen/Qwen3-8B, hardware: {gpu: H100, count: 2}}]\n"
    big += "  hardware: {classes: [{gpu: H100, gpusPerNode: 1}]}\n"
    policies = _policies(big + OPEN)
    pod = _labels("engine", "demo-big")

    assert _may(policies, "Ingress", pod, pod, 41234)
    assert _may(policies, "Egress", pod, pod, 41234)
    assert not _may(policies, "Ingress", pod, _labels("engine", "demo-other"), 41234)


def test_engines_elsewhere_are_reached_where_the_file_says_they_are() -> None:
    spec = "  models: [{name: far, endpoints: ['http://10.1.2.3:9000', 'http://far.example:9001']}]\n" + OPEN
    blocks = [rule for policy in _policies(spec) for rule in policy.get("egress", [])]

    assert {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 9000, "protocol": "TCP"}]} in blocks
    assert {"ports": [{"port": 9001, "protocol": "TCP"}]} in blocks


def test_the_gateway_alone_reaches_the_store_on_its_port() -> None:
    policies = _policies(CHAT + DATABASE)

    assert _may(policies, "Egress", GATEWAY, None, 6432)
    assert not _may(policies, "Egress", ENGINE, None, 6432)
    assert not _may(_policies(), "Egress", GATEWAY, None, 6432)


def test_a_store_without_a_port_is_on_the_one_of_postgresql() -> None:
    assert _may(_policies(CHAT + DATABASE.replace(":6432", "")), "Egress", GATEWAY, None, 5432)
    assert not _may(_policies(), "Egress", GATEWAY, None, 5432)


def test_a_store_with_an_address_is_reached_there_alone() -> None:
    rules = [rule for p in _policies(CHAT + DATABASE.replace("db.example", "10.1.2.3")) for rule in p.get("egress", [])]

    assert {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 6432, "protocol": "TCP"}]} in rules
    assert [{"port": 6432, "protocol": "TCP"}] not in [rule["ports"] for rule in rules if "to" not in rule]


def test_names_are_looked_up_by_all() -> None:
    assert _may(_policies(), "Egress", ENGINE, "kube-system", 53)


def test_the_controller_asks_the_gateways_and_keda_asks_the_controller() -> None:
    scaled = CHAT.replace("replicas: 2", "autoscaling: {via: penstock, maxReplicas: 4}")
    policies = _policies(scaled + OPEN + "  kubernetes: {controller: true}\n")
    controller = _labels("controller")

    assert _may(policies, "Egress", controller, GATEWAY, 8081)
    assert _may(policies, "Ingress", GATEWAY, controller, 8081)
    asked = [
        rule
        for policy in policies
        for rule in policy.get("ingress", [])
        if rule.get("ports", [{}])[0].get("port") == 6000
    ]
    assert [rule["from"][0]["podSelector"] for rule in asked] == [{"matchLabels": {"app": "keda-operator"}}]


def test_the_file_may_decline_them() -> None:
    assert _policies(CHAT + OPEN + "  kubernetes: {networkPolicies: false}\n") == []


def test_events_of_the_caches_reach_the_gateway_alone() -> None:
    events = "  gateway: {auth: {anonymous: true}, routing: {kvEventsPort: 5557}}\n  monitoring: {}\n"
    policies = _policies(CHAT + events)

    assert _may(policies, "Egress", GATEWAY, ENGINE, 5557)
    assert _may(policies, "Ingress", ENGINE, GATEWAY, 5557)
    assert _may(policies, "Egress", GATEWAY, ENGINE, 5558)  # where what was missed is asked for
    assert _may(policies, "Ingress", ENGINE, GATEWAY, 5558)
    assert not _may(policies, "Ingress", ENGINE, "monitoring", 5557)
    assert _may(policies, "Ingress", ENGINE, GATEWAY, 8000)
    assert not _may(_policies(CHAT + OPEN), "Ingress", ENGINE, GATEWAY, 5557)
