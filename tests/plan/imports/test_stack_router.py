"""The router of a production-stack values file."""

from __future__ import annotations

from typing import Any

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


def test_how_it_routed_is_left_out_with_a_reason() -> None:
    assert outcome(read(routerSpec={"routingLogic": "session"}), "routingLogic") == ["left out"]
