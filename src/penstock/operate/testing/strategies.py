"""What is special about kinds when they are written: status apart, generation, first phase, fixed fields.

Guarantees: as the `strategy.go` of each kind of the real server. Leaves to others: defaults (`defaults.py`) and
schemas.
"""

from __future__ import annotations

import base64
from typing import Any

from penstock.operate.testing.crds import crd_causes
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.names import invalid_value
from penstock.operate.testing.rules import rule_causes_of
from penstock.operate.testing.status import Cause

__all__ = [
    "causes_of_change",
    "causes_of_object",
    "desired_state",
    "has_generation",
    "prepare_create",
    "prepare_update",
]

_GENERATION = {
    ("", "pods"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("discovery.k8s.io", "endpointslices"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "priorityclasses"),
}
_STATUS_KEPT = {("", "nodes"), ("", "namespaces"), ("", "services"), ("", "persistentvolumes")}
"""Kinds whose status a creation may set."""
_NO_STATUS: dict[tuple[str, str], dict[str, Any]] = {
    ("", "pods"): {"phase": "Pending", "qosClass": "BestEffort"},
    ("", "namespaces"): {"phase": "Active"},
    ("", "persistentvolumeclaims"): {"phase": "Pending"},
    ("", "persistentvolumes"): {"phase": "Pending"},
    ("", "services"): {"loadBalancer": {}},
    ("networking.k8s.io", "ingresses"): {"loadBalancer": {}},
}


def has_generation(resource: Resource) -> bool:
    return bool(resource.crd) or resource.group_plural in _GENERATION


def _has_status(resource: Resource) -> bool:
    return "status" in resource.subresources


def desired_state(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """What `generation` counts changes of."""
    left_out = {"apiVersion", "kind", "metadata"} | ({"status"} if _has_status(resource) else set())
    state = {key: value for key, value in obj.items() if key not in left_out}
    if resource.group_plural == ("", "pods"):
        state["spec"] = {k: v for k, v in (obj.get("spec") or {}).items() if k != "nodeName"}
    return state


def prepare_create(resource: Resource, obj: dict[str, Any], addresses: set[str]) -> dict[str, Any]:
    """`obj` as a new object: its status is the server's to begin."""
    new = dict(obj)
    if _has_status(resource) and resource.group_plural not in _STATUS_KEPT:
        new.pop("status", None)
    first = _NO_STATUS.get(resource.group_plural)
    if first and not new.get("status"):
        new["status"] = dict(first)
    if resource.group_plural == ("", "namespaces"):
        name = new["metadata"].get("name", "")
        new["spec"] = {"finalizers": ["kubernetes"]}
        labels = dict(new["metadata"].get("labels") or {}) | {"kubernetes.io/metadata.name": name}
        new["metadata"] = new["metadata"] | {"labels": labels}
    if resource.group_plural == ("", "services"):
        new["spec"] = _with_address(dict(new.get("spec") or {}), addresses)
    if resource.group_plural == ("", "secrets") and new.get("stringData"):
        new = _with_string_data(new)
    return new


_ADDRESSES_MAX = 65_000


def _with_address(spec: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """A Service's spec with its cluster address, if its type has one."""
    if spec.get("type") == "ExternalName" or spec.get("clusterIP"):
        return spec
    for number in range(1, _ADDRESSES_MAX):
        address = f"10.96.{number // 256}.{number % 256}"
        if address not in taken and number % 256:
            return spec | {"clusterIP": address}
    return spec


def _with_string_data(obj: dict[str, Any]) -> dict[str, Any]:
    """A Secret whose `stringData` is in `data`, which is all that is stored."""
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in obj["stringData"].items()}
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return rest | {"data": (obj.get("data") or {}) | encoded}


def prepare_update(resource: Resource, live: dict[str, Any], new: dict[str, Any], subresource: str) -> dict[str, Any]:
    """`new` with what this path may not write taken from `live`."""
    if resource.group_plural == ("", "secrets") and new.get("stringData"):
        new = _with_string_data(new)
    if resource.group_plural == ("", "services"):
        spec, before = new.get("spec") or {}, live.get("spec") or {}
        kept = {} if spec.get("type") == "ExternalName" else {"clusterIP": before.get("clusterIP")}
        new = new | {"spec": {key: value for key, value in kept.items() if value} | spec}
    if not _has_status(resource):
        return new
    if subresource == "status":
        kept = {key: value for key, value in live.items() if key not in ("status", "metadata")}
        metadata = live["metadata"] | {
            key: new["metadata"][key] for key in ("resourceVersion", "managedFields") if key in new["metadata"]
        }
        return kept | {"metadata": metadata} | ({"status": new["status"]} if "status" in new else {})
    rest = {key: value for key, value in new.items() if key != "status"}
    return rest | ({"status": live["status"]} if "status" in live else {})


def causes_of_object(resource: Resource, obj: dict[str, Any]) -> list[Cause]:
    """What is wrong with an object by the rules of its kind."""
    if resource.group_plural == ("apiextensions.k8s.io", "customresourcedefinitions"):
        return crd_causes(obj)
    return [] if resource.crd else rule_causes_of(resource, obj)


_FIXED = {
    ("apps", "deployments"): ("spec.selector",),
    ("apps", "replicasets"): ("spec.selector",),
    ("apps", "daemonsets"): ("spec.selector",),
    ("batch", "jobs"): ("spec.selector", "spec.template", "spec.completionMode"),
    ("rbac.authorization.k8s.io", "rolebindings"): ("roleRef",),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): ("roleRef",),
    ("", "persistentvolumeclaims"): ("spec.accessModes", "spec.storageClassName", "spec.volumeMode", "spec.selector"),
    ("apps", "statefulsets"): ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
    ("storage.k8s.io", "storageclasses"): ("provisioner", "parameters", "reclaimPolicy"),
}


def _at(obj: dict[str, Any], path: str) -> Any:
    value: Any = obj
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def causes_of_change(resource: Resource, live: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """What may not change once it is."""
    found = [
        invalid_value(path, _at(new, path), "field is immutable")
        for path in _FIXED.get(resource.group_plural, ())
        if _at(live, path) != _at(new, path)
    ]
    for kind, field in ((("", "configmaps"), "data"), (("", "secrets"), "data")):
        if resource.group_plural == kind and live.get("immutable") and live.get(field) != new.get(field):
            found.append(Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field))
    if resource.group_plural == ("", "pods") and not resource.crd:
        found += _changed_pod(live.get("spec") or {}, new.get("spec") or {})
    return found


def _changed_pod(live: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """A pod's spec is fixed but for its images, its node once, its deadline and what it tolerates more."""

    def fixed(spec: dict[str, Any]) -> dict[str, Any]:
        left_out = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "nodeName", "containers")
        containers = [
            {key: value for key, value in container.items() if key not in ("image", "resources")}
            for container in spec.get("containers") or ()
        ]
        return {key: value for key, value in spec.items() if key not in left_out} | {"containers": containers}

    is_moved = bool(live.get("nodeName")) and live["nodeName"] != new.get("nodeName")
    if fixed(live) == fixed(new) and not is_moved:
        return []
    words = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [Cause("FieldValueForbidden", words, "spec")]
