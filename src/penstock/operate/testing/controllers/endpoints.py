"""Services: an EndpointSlice with the addresses of the pods that a Service selects. Pure."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.controllers.workloads import owner_of
from penstock.operate.testing.controllers.world import World, is_ready

__all__ = ["run_services"]

Json = dict[str, Any]
_GROUP = "discovery.k8s.io"
_SERVICE = "kubernetes.io/service-name"


def run_services(world: World) -> None:
    for service in world.all("services"):
        if service["spec"].get("selector") and not service["metadata"].get("deletionTimestamp"):
            _run_service(world, service)


def _run_service(world: World, service: Json) -> None:
    metadata = service["metadata"]
    selector = service["spec"]["selector"]
    pods = [
        pod
        for pod in world.all("pods", "", metadata["namespace"])
        if selector.items() <= (pod["metadata"].get("labels") or {}).items()
        and pod["status"].get("podIP")
        and pod["status"].get("phase") == "Running"
    ]
    endpoints = [_endpoint(pod) for pod in pods]
    ports = [port for each in service["spec"].get("ports") or () if (port := _port(each, pods)) is not None]
    found = world.owned_by(service, "endpointslices", _GROUP)
    if found:
        world.update("endpointslices", _GROUP, found[0], **_filled(endpoints, ports, found[0]))
        return
    labels = {_SERVICE: metadata["name"], "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    world.create(
        "endpointslices",
        _GROUP,
        {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "labels": labels,
                "ownerReferences": [owner_of(service)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        },
    )


def _filled(endpoints: list[Json], ports: list[Json], before: Json) -> Json:
    """What changes; an empty list is stored as nothing, so that is no change."""
    wanted = {"endpoints": endpoints, "ports": ports}
    return {key: value for key, value in wanted.items() if value or before.get(key)}


def _endpoint(pod: Json) -> Json:
    is_ending = bool(pod["metadata"].get("deletionTimestamp"))
    is_serving = is_ready(pod)
    metadata = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": is_serving and not is_ending, "serving": is_serving, "terminating": is_ending},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }


def _port(port: Json, pods: list[Json]) -> Json | None:
    """The port of the pods; a named one that no pod has is left out, as is the real controller's way."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        numbers = [
            each["containerPort"]
            for pod in pods
            for container in pod["spec"]["containers"]
            for each in container.get("ports") or ()
            if each.get("name") == target
        ]
        if not numbers:
            return None
        target = numbers[0]
    return {"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")}
