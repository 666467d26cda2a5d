"""Discovery: which groups, versions and resources there are, in the old form and the aggregated one. Pure.

Guarantees: `kubectl` finds every served resource, its short names, verbs and subresources.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.operate.testing.kinds import Resource

__all__ = ["AGGREGATED", "aggregated", "api_groups", "api_resources", "api_versions", "version_of_server"]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SUB_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "eviction": ("create",),
    "binding": ("create",),
    "log": ("get",),
    "token": ("create",),
    "finalize": ("update",),
    "ephemeralcontainers": ("get", "patch", "update"),
    "resize": ("get", "patch", "update"),
}
_SUB_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


def version_of_server() -> dict[str, str]:
    """The answer of `/version`."""
    return {
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.0",
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-04-22T00:00:00Z",
        "goVersion": "go1.26",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def _groups(resources: Iterable[Resource]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for resource in resources:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return found


def api_versions(address: str) -> dict[str, Any]:
    clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}


def api_groups(resources: Iterable[Resource]) -> dict[str, Any]:
    groups = []
    for group, versions in _groups(resources).items():
        if group:
            each = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
            groups.append({"name": group, "versions": each, "preferredVersion": each[0]})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_resources(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any]:
    """The resources of one group and version."""
    rows: list[dict[str, Any]] = []
    for resource in resources:
        if (resource.group, resource.version) != (group, version):
            continue
        row: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.is_namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            row["shortNames"] = list(resource.short_names)
        if resource.categories:
            row["categories"] = list(resource.categories)
        rows.append(row)
        for name in sorted(resource.subresources):
            sub_group, sub_version, kind = _SUB_KINDS.get(name, ("", "", resource.kind))
            row = {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.is_namespaced,
                "kind": kind,
                "verbs": list(_SUB_VERBS[name]),
            }
            if name in _SUB_KINDS:
                row |= {"group": sub_group, "version": sub_version}
            rows.append(row)
    where = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": where, "resources": rows}


def aggregated(resources: Iterable[Resource], *, is_core: bool) -> dict[str, Any]:
    """`apidiscovery.k8s.io/v2`: everything of `/api` or of `/apis` in one answer."""
    found = list(resources)
    items = []
    for group, versions in _groups(found).items():
        if bool(group) is is_core:
            continue
        rows = [
            {
                "version": version,
                "resources": [_discovered(r) for r in found if (r.group, r.version) == (group, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": rows})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(resource: Resource) -> dict[str, Any]:
    row: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    subresources = []
    for name in sorted(resource.subresources):
        group, version, kind = _SUB_KINDS.get(name, (resource.group, resource.version, resource.kind))
        response = {"group": group, "version": version, "kind": kind}
        subresources.append({"subresource": name, "responseKind": response, "verbs": list(_SUB_VERBS[name])})
    if subresources:
        row["subresources"] = subresources
    return row
