"""CustomResourceDefinitions: which resources one serves, with which schema, subresources and columns.

Guarantees: a definition that is stored names its resource as the real server requires; the shapes it gives behave in
server-side apply like built-in ones. Source: `k8s.io/apiextensions-apiserver`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import invalid_value, required
from penstock.operate.testing.schemas import CUSTOM, Shape, built_in_shape
from penstock.operate.testing.status import Cause

__all__ = ["Custom", "crd_causes", "customs_of", "established"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """One served version of a custom resource."""

    resource: Resource
    shape: Shape


def customs_of(crd: dict[str, Any]) -> list[Custom]:
    """The served versions of a definition."""
    spec = crd["spec"]
    return [_custom(crd, spec, version) for version in spec.get("versions", ()) if version.get("served")]


def _custom(crd: dict[str, Any], spec: dict[str, Any], version: dict[str, Any]) -> Custom:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale") or {}
    resource = Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        is_namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if name in subresources),
        list_kind=names.get("listKind", ""),
        crd=crd["metadata"]["name"],
        scale_paths=(
            scale.get("specReplicasPath", ".spec.replicas"),
            scale.get("statusReplicasPath", ".status.replicas"),
            scale.get("labelSelectorPath", ""),
        ),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
    )
    schema = clone(
        (version.get("schema") or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True}
    )
    return Custom(resource=resource, shape=_shape(schema))


def _shape(schema: dict[str, Any]) -> Shape:
    """The schema with the fields that every object has."""
    meta = built_in_shape("", "v1", "ConfigMap").child("metadata")
    definitions: dict[str, Any] = {CUSTOM: True, _META: meta.raw if meta is not None else {}}
    properties = dict(schema.get("properties") or {})
    fixed = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    metadata = {"type": "object", "x-metadata": True, "x-schema": properties.get("metadata") or {}}
    if meta is not None and meta.raw:
        metadata |= {"$ref": f"#/$defs/{_META}"}
        definitions |= meta.definitions
    else:  # the schema of metadata is not at hand
        metadata["x-kubernetes-preserve-unknown-fields"] = True
    return Shape(schema | {"properties": properties | fixed | {"metadata": metadata}}, definitions)


def crd_causes(crd: dict[str, Any]) -> list[Cause]:
    """What is wrong with a definition."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    found: list[Cause] = []
    for field, value in (("spec.group", spec.get("group")), ("spec.scope", spec.get("scope"))):
        if not value:
            found.append(required(field))
    found += [required(f"spec.names.{each}") for each in ("plural", "kind") if not names.get(each)]
    versions = spec.get("versions") or []
    stored = [version for version in versions if version.get("storage")]
    if len(stored) != 1:
        words = "must have exactly one version marked as storage version"
        found.append(Cause("FieldValueInvalid", f"Invalid value: {len(stored)}: {words}", "spec.versions"))
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            found.append(required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"))
    expected = f"{names.get('plural')}.{spec.get('group')}"
    name = crd["metadata"].get("name", "")
    if name != expected:
        found.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    return found


def established(crd: dict[str, Any], at: str) -> dict[str, Any]:
    """The status of a definition that is served from `at` on."""
    conditions = [
        {
            "type": "NamesAccepted",
            "status": "True",
            "lastTransitionTime": at,
            "reason": "NoConflicts",
            "message": "no conflicts found",
        },
        {
            "type": "Established",
            "status": "True",
            "lastTransitionTime": at,
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]
    before = (crd.get("status") or {}).get("conditions")
    names = crd["spec"]["names"]
    accepted = {"listKind": f"{names['kind']}List", "singular": names["kind"].lower()} | names
    stored = [version["name"] for version in crd["spec"]["versions"] if version.get("storage")]
    kept = (crd.get("status") or {}).get("storedVersions") or []
    return {
        "conditions": before or conditions,
        "acceptedNames": accepted,
        "storedVersions": kept + [name for name in stored if name not in kept],
    }
