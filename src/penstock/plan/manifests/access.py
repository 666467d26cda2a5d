"""Service accounts, and the little that each may do. Pure.

Engines and download Jobs have no token at all. The gateway reads EndpointSlices of its namespace. The controller may
do exactly what it takes to keep the kinds that a fleet may be made of, and nothing in other namespaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.site import Site

__all__ = ["render_access", "render_controller_access"]

_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_KEEP = [*_READ, "create", "patch", "delete"]
_KINDS: dict[str, tuple[str, ...]] = {
    "": ("configmaps", "persistentvolumeclaims", "serviceaccounts", "services"),
    "apps": ("deployments",),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("jobs",),
    "external-secrets.io": ("externalsecrets",),
    "gateway.networking.k8s.io": ("httproutes",),
    "keda.sh": ("scaledobjects",),
    "leaderworkerset.x-k8s.io": ("leaderworkersets",),
    "monitoring.coreos.com": ("podmonitors", "prometheusrules", "servicemonitors"),
    "networking.istio.io": ("virtualservices",),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "policy": ("poddisruptionbudgets",),
    _RBAC: ("rolebindings", "roles"),
    "resource.k8s.io": ("resourceclaimtemplates",),
}
"""Every kind that a fleet may be made of inside its namespace. All of them for each fleet, used or not: a change of the
file may bring a kind, and one that it no longer has must be found to be taken away."""


def render_access(site: Site) -> Iterator[Manifest]:
    """The gateway's account and its one right."""
    rules = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": list(_READ)}]
    heading = "The gateway finds engines through EndpointSlices; it may read nothing else."
    yield from _account(site, "gateway", rules, heading)


def render_controller_access(site: Site, manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """The controller's account; `manifests` are what it keeps."""
    if not site.has_controller:
        return
    heading = "The controller keeps the kinds that a fleet may be made of, in this namespace. It reads no Secret."
    yield from _account(site, "controller", list(_controller_rules()), heading)
    yield from _cluster_access(site, list(_cluster_rules(manifests)))


def _controller_rules() -> Iterator[dict[str, Any]]:
    yield {"apiGroups": ["penstock.dev"], "resources": ["fleets"], "verbs": [*_READ, "patch"]}
    yield {"apiGroups": ["penstock.dev"], "resources": ["fleets/status"], "verbs": ["get", "patch"]}
    for group, resources in _KINDS.items():
        yield {"apiGroups": [group], "resources": list(resources), "verbs": list(_KEEP)}
    reason = "To tell why an engine is not ready."
    yield {"apiGroups": [""], "resources": Because(["events", "pods"], reason), "verbs": list(_READ)}
    reason = "To find the gateways, for the forecast; and nobody may give a right, the gateway's, that he has not."
    yield {"apiGroups": ["discovery.k8s.io"], "resources": Because(["endpointslices"], reason), "verbs": list(_READ)}
    yield {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}


def _cluster_rules(manifests: Sequence[Manifest]) -> Iterator[dict[str, Any]]:
    """Rights on what belongs to no namespace: by name, as far as RBAC can."""
    names = sorted({manifest.name for manifest in manifests if manifest.kind == "PriorityClass"})
    if names:
        what = {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"]}
        yield {**what, "resourceNames": names, "verbs": ["patch"]}
        yield {**what, "verbs": Because(["get", "list", "create"], "RBAC cannot bind these to names.")}
    reason = "Whether a volume is bound only when a pod needs it."
    yield {"apiGroups": ["storage.k8s.io"], "resources": Because(["storageclasses"], reason), "verbs": ["get", "list"]}


def _account(site: Site, component: str, rules: list[dict[str, Any]], heading: str) -> Iterator[Manifest]:
    name = dns_name(site.name, component)
    metadata = site.metadata(component, name)
    bodies: list[tuple[dict[str, Any], str]] = [
        (
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": metadata,
                "automountServiceAccountToken": Because(False, "The pod that needs the token says so itself."),
            },
            "",
        ),
        ({"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules}, heading),
        (
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": site.namespace}],
            },
            "",
        ),
    ]
    for body, words in bodies:
        yield Manifest(body=body, wave=Wave.ACCESS, file=component, heading=words)


def _cluster_access(site: Site, rules: list[dict[str, Any]]) -> Iterator[Manifest]:
    name = dns_name(site.namespace, site.name, "controller")
    metadata = site.fleet_metadata(name, is_namespaced=False)
    account = {"kind": "ServiceAccount", "name": dns_name(site.name, "controller"), "namespace": site.namespace}
    heading = "What belongs to no namespace. Its own name holds the namespace, so that it is the only one."
    yield Manifest(
        body={"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        wave=Wave.ACCESS,
        file="controller",
        heading=heading,
    )
    yield Manifest(
        body={
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [account],
        },
        wave=Wave.ACCESS,
        file="controller",
    )
