"""Service accounts, and the little that each may do. Pure.

Engines and download Jobs have no token at all. The gateway reads EndpointSlices of its namespace. The controller may
do exactly what it takes to keep the kinds that this fleet is made of, and nothing in other namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.site import Site

__all__ = ["render_access", "render_controller_access"]

_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_KEEP = [*_READ, "create", "patch", "delete"]
_PLURALS = {"NetworkPolicy": "networkpolicies", "EndpointSlice": "endpointslices"}
_BY_HAND = {"Namespace"}
"""Kinds that a person makes before the controller can run."""


def render_access(site: Site) -> Iterator[Manifest]:
    """The gateway's account and its one right."""
    rules = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ}]
    heading = "The gateway finds engines through EndpointSlices; it may read nothing else."
    yield from _account(site, "gateway", rules, heading)


def render_controller_access(site: Site, manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """The controller's account, with rights on the kinds of `manifests`."""
    if not site.has_controller:
        return
    heading = "The controller keeps the kinds that this fleet is made of, in this namespace."
    yield from _account(site, "controller", list(_controller_rules(manifests)), heading)
    cluster_rules = list(_cluster_rules(manifests))
    if cluster_rules:
        yield from _cluster_access(site, cluster_rules)


def _controller_rules(manifests: Sequence[Manifest]) -> Iterator[dict[str, Any]]:
    inside = [manifest for manifest in manifests if manifest.namespace is not None]
    yield {"apiGroups": ["penstock.dev"], "resources": ["fleets"], "verbs": [*_READ, "patch"]}
    yield {"apiGroups": ["penstock.dev"], "resources": ["fleets/status"], "verbs": ["get", "patch"]}
    for group, kinds in _by_group(inside):
        yield {"apiGroups": [group], "resources": [_plural(kind) for kind in kinds], "verbs": _KEEP}
    yield {"apiGroups": [""], "resources": ["pods"], "verbs": _READ}
    reason = "Also because nobody may give a right, the gateway's here, that he has not himself."
    yield {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": Because(_READ, reason)}
    yield {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}


def _cluster_rules(manifests: Sequence[Manifest]) -> Iterator[dict[str, Any]]:
    """Rights on objects that belong to no namespace: by name, as far as RBAC can."""
    outside = [m for m in manifests if m.namespace is None and m.kind not in _BY_HAND]
    for group, kinds in _by_group(outside):
        names = sorted({manifest.name for manifest in outside if manifest.kind in kinds and _group(manifest) == group})
        resources = [_plural(kind) for kind in kinds]
        yield {"apiGroups": [group], "resources": resources, "resourceNames": names, "verbs": ["get", "patch"]}
        verbs = Because(["create"], "RBAC cannot bind making to a name.")
        yield {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _by_group(manifests: Iterable[Manifest]) -> Iterator[tuple[str, list[str]]]:
    groups: dict[str, set[str]] = {}
    for manifest in manifests:
        groups.setdefault(_group(manifest), set()).add(manifest.kind)
    yield from ((group, sorted(kinds)) for group, kinds in sorted(groups.items()))


def _group(manifest: Manifest) -> str:
    group, slash, _ = str(manifest.body["apiVersion"]).partition("/")
    return group if slash else ""


def _plural(kind: str) -> str:
    if kind in _PLURALS:
        return _PLURALS[kind]
    plain = kind.lower()
    if plain.endswith(("s", "x", "ch")):
        return f"{plain}es"
    return f"{plain[:-1]}ies" if plain.endswith("y") else f"{plain}s"


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
