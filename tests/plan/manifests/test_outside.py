"""What the gateway reaches outside the fleet: Redis, providers, engines elsewhere; and what no pod can reach."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.manifest import plain
from penstock.plan.manifests.outside import egress_of_gateway, outside_notes, redis_of
from plan.manifests.sites import CHAT, OPEN, bundle_of, findings_of, found, site_from

LIMITED = """\
  gateway:
    tenants:
      - {name: acme, limits: {tokensPerMinute: 5}, keys: [{valueFrom: {secretKeyRef: {name: keys, key: acme}}}]}
"""
SHARED = (
    LIMITED
    + """\
    limits:
      url: rediss://penstock@10.1.2.3:6380/1
      passwordFrom: {secretKeyRef: {name: redis, key: password}}
    providers:
      - {name: cloud, url: https://api.example.com/v1, keyFrom: {secretKeyRef: {name: cloud, key: key}}}
      - {name: east, url: http://10.9.9.9:8080/v1, keyFrom: {env: EAST_KEY}}
"""
)


def egress(spec: str) -> list[Any]:
    return [plain(rule) for rule in egress_of_gateway(site_from(spec))]


def tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}


def test_nothing_is_opened_for_a_fleet_that_is_alone() -> None:
    assert egress(CHAT + OPEN) == []


def test_redis_and_providers_are_opened_by_address_where_they_have_one_and_by_port_elsewhere() -> None:
    assert egress(CHAT + SHARED) == [
        {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [tcp(6380)]},
        {"ports": [tcp(443)]},
        {"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [tcp(8080)]},
    ]


def test_engines_elsewhere_are_opened_with_the_port_of_their_events() -> None:
    spec = "  models: [{name: chat, endpoints: ['http://10.0.0.7:9000']}]\n"
    gateway = "  gateway: {auth: {anonymous: true}, routing: {kvEventsPort: 5557}}\n"

    assert egress(spec + gateway) == [
        {"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}], "ports": [tcp(5557), tcp(5558), tcp(9000)]}
    ]


@pytest.mark.parametrize(
    ("url", "place"),
    [("redis://redis.svc", ("redis.svc", 6379)), ("redis://[::1]:7000/2", ("::1", 7000))],
)
def test_where_redis_is(url: str, place: tuple[str, int]) -> None:
    spec = f"  gateway: {{auth: {{anonymous: true}}, limits: {{url: '{url}'}}}}\n"

    assert redis_of(site_from(CHAT + spec).fleet) == place


def test_without_a_url_there_is_no_redis() -> None:
    assert redis_of(site_from(CHAT + OPEN).fleet) is None


def test_a_socket_is_refused_because_no_pod_has_it() -> None:
    (finding,) = findings_of(CHAT + "  gateway: {auth: {anonymous: true}, limits: {url: 'unix:///run/redis.sock'}}\n")

    assert finding.at == ("spec", "gateway", "limits", "url")
    assert "redis://HOST" in (finding.hint or "")


@pytest.mark.parametrize("port", [8000, 7999])
def test_events_on_the_port_of_the_engines_are_refused(port: int) -> None:
    (finding,) = findings_of(CHAT + f"  gateway: {{auth: {{anonymous: true}}, routing: {{kvEventsPort: {port}}}}}\n")

    assert finding.at == ("spec", "gateway", "routing", "kvEventsPort")


def test_passwords_and_keys_come_from_secrets_as_files_or_as_variables() -> None:
    bundle = bundle_of(CHAT + SHARED)

    pod = found(bundle, "Deployment", "demo-gateway")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sources = next(v for v in pod["volumes"] if v["name"] == "configuration")["projected"]["sources"]
    mounted = {s["secret"]["name"]: s["secret"]["items"][0]["path"] for s in sources if "secret" in s}
    assert mounted == {
        "cloud": "secrets/cloud/key",
        "keys": "secrets/keys/acme",
        "redis": "secrets/redis/password",
    }
    (variable,) = [e for e in container["env"] if e["name"] == "EAST_KEY"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "demo-env", "key": "EAST_KEY"}}


def test_a_change_of_redis_restarts_the_gateways_and_a_change_of_a_limit_does_not() -> None:
    def stamp(spec: str) -> str:
        pod = found(bundle_of(CHAT + spec), "Deployment", "demo-gateway")["spec"]["template"]
        value: str = pod["metadata"]["annotations"]["penstock.dev/read-at-start"]
        return value

    assert stamp(SHARED) == stamp(SHARED.replace("tokensPerMinute: 5", "tokensPerMinute: 6"))
    assert stamp(SHARED) != stamp(SHARED.replace("10.1.2.3", "10.1.2.4"))


def test_limits_that_each_gateway_holds_by_itself_are_told() -> None:
    (note,) = outside_notes(site_from(CHAT + LIMITED))

    assert note.startswith("up to 10 gateways each hold the limits of acme by themselves")
    assert "gateway.limits.url" in note


@pytest.mark.parametrize("spec", [SHARED, OPEN, LIMITED + "    scale: {minReplicas: 1, maxReplicas: 1}\n"])
def test_nothing_is_told_where_limits_are_shared_absent_or_one_gateways(spec: str) -> None:
    assert list(outside_notes(site_from(CHAT + spec))) == []
