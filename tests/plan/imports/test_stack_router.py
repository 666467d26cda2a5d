"""The router of a production-stack values file."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.imports import Imported
from penstock.plan.manifests import plain
from plan.imports.stacks import loaded, outcome, read


def gateway(imported: Imported) -> dict[str, Any]:
    found: dict[str, Any] = plain(imported.body)["spec"]["gateway"]
    return found


def test_replicas_and_resources_are_those_of_the_gateway() -> None:
    router = {
        "replicaCount": 2,
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 8, "targetCPUUtilizationPercentage": 60},
        "resources": {"requests": {"cpu": "400m", "memory": "700Mi"}, "limits": {"memory": "700Mi", "cpu": 2}},
    }
    imported = read(routerSpec=router)

    assert gateway(imported)["scale"] == {
        "minReplicas": 3,
        "maxReplicas": 8,
        "cpuPercent": 60,
        "cpu": "400m",
        "memory": "700Mi",
    }
    assert outcome(imported, "limits.cpu") == ["left out"]


def test_one_router_becomes_two_once_mended() -> None:
    assert gateway(read(routerSpec={"replicaCount": 1}))["scale"] == {"minReplicas": 1, "maxReplicas": 1}
    mended = gateway(read(routerSpec={"replicaCount": 1}, is_fixing=True))
    assert mended["scale"] == {"minReplicas": 2, "maxReplicas": 2}


def test_an_ingress_is_carried() -> None:
    ingress = {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "llm.example.com", "paths": [{"path": "/"}]}],
        "tls": [{"secretName": "cert", "hosts": ["llm.example.com"]}],
    }
    imported = read(routerSpec={"ingress": ingress})

    assert gateway(imported)["expose"] == {
        "kind": "ingress",
        "host": "llm.example.com",
        "className": "nginx",
        "tlsSecret": "cert",
    }
    assert loaded(imported).spec.gateway.expose is not None


def test_a_route_is_carried_to_its_gateway() -> None:
    main = {"enabled": True, "hostnames": ["llm.example.com"], "parentRefs": [{"name": "public", "namespace": "infra"}]}

    found = gateway(read(routerSpec={"route": {"main": main}}))

    assert found["expose"] == {"host": "llm.example.com", "gateway": "infra/public"}


def test_static_backends_are_engines_that_run_elsewhere() -> None:
    router = {"staticBackends": "http://10.0.0.1:8000,http://10.0.0.2:8000", "staticModels": "far,far"}

    fleet = loaded(read(routerSpec=router))

    assert fleet.spec.models[1].endpoints == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]


def test_sessions_stay_at_their_engine_by_the_same_header() -> None:
    imported = read(routerSpec={"routingLogic": "session", "sessionKey": "X-User-Id"})

    routing = loaded(imported).spec.gateway.routing
    assert (routing.policy, routing.session_header) == ("session", "x-user-id")
    assert outcome(imported, "routingLogic") == outcome(imported, "sessionKey") == ["carried"]


def test_a_session_header_that_nothing_reads_is_left_out() -> None:
    imported = read(routerSpec={"sessionKey": "x-user-id"})

    assert "routing" not in gateway(imported)
    assert outcome(imported, "sessionKey") == ["left out"]


def test_taking_turns_stays_and_goes_by_cost_once_mended() -> None:
    imported = read(routerSpec={"routingLogic": "roundrobin"})

    assert loaded(imported).spec.gateway.routing.policy == "round-robin"
    assert outcome(imported, "routingLogic") == ["proposed"]
    mended = read(routerSpec={"routingLogic": "roundrobin"}, is_fixing=True)
    assert loaded(mended).spec.gateway.routing.policy == "cost"
    assert outcome(mended, "routingLogic") == ["fixed"]


@pytest.mark.parametrize("logic", ["prefixaware", "kvaware"])
def test_routing_by_caches_is_what_the_gateway_does_by_itself(logic: str) -> None:
    imported = read(routerSpec={"routingLogic": logic})

    assert "routing" not in gateway(imported)
    assert outcome(imported, "routingLogic") == ["changed"]


def test_a_way_to_route_that_is_not_ours_is_left_out_with_a_reason() -> None:
    imported = read(routerSpec={"routingLogic": "disaggregated_prefill"})

    assert "routing" not in gateway(imported)
    assert outcome(imported, "routingLogic") == ["left out"]
