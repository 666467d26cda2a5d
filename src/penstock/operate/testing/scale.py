"""The scale subresource: a workload as `autoscaling/v1` Scale, and a Scale written back. Pure."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import invalid_value
from penstock.operate.testing.status import bad_request, invalid

__all__ = ["scale_of", "scale_resource", "with_scale"]

_SCALE = Resource(
    group="autoscaling", version="v1", kind="Scale", plural="scales", singular="scale", is_namespaced=True
)


def scale_resource() -> Resource:
    return _SCALE


def _get(obj: dict[str, Any], path: str) -> Any:
    value: Any = obj
    for name in path.strip(".").split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _selector(value: Any) -> str:
    """A selector as `kubectl` and autoscalers read it from a Scale."""
    if isinstance(value, str):
        return value
    parts = [f"{key}={each}" for key, each in sorted(((value or {}).get("matchLabels") or {}).items())]
    for each in (value or {}).get("matchExpressions") or ():
        values = "(" + ",".join(each.get("values") or ()) + ")"
        words = {
            "In": f"{each['key']} in {values}",
            "NotIn": f"{each['key']} notin {values}",
            "Exists": each["key"],
            "DoesNotExist": f"!{each['key']}",
        }
        parts.append(words[each["operator"]])
    return ",".join(parts)


def scale_of(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """The scale of a workload."""
    desired, observed, selector = resource.scale_paths
    if not resource.crd:
        selector = ".spec.selector"
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: dict[str, Any] = {"replicas": _get(obj, observed) or 0}
    if selector and (text := _selector(_get(obj, selector))):
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": _get(obj, desired) or 0},
        "status": status,
    }


def with_scale(resource: Resource, obj: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """`obj` with the replicas of `scale`."""
    if scale.get("kind") != "Scale":
        raise bad_request(f"the object provided is unrecognized (must be of type Scale): kind {scale.get('kind')}")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    name = obj["metadata"]["name"]
    if not isinstance(replicas, int) or replicas < 0:
        words = "must be greater than or equal to 0"
        raise invalid("autoscaling", "Scale", name, [invalid_value("spec.replicas", replicas, words)])
    new: dict[str, Any] = clone(obj)
    *parents, last = resource.scale_paths[0].strip(".").split(".")
    node = new
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = replicas
    return new
