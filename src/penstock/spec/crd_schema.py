"""The types of the fleet file as a structural schema, the dialect of JSON Schema that a CustomResourceDefinition takes.

Pure. Guarantees: no references, no unions, no defaults (a default would be written into the object, and the next apply
would find it changed); a type for every node but those whose value is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.spec.schema import fleet_schema

__all__ = ["Node", "spec_schema"]

Node = dict[str, Any]

_KEPT = ("type", "description", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")
_FREE = ("spec.models[].engine.args",)
"""Mappings whose values are whatever an engine's flags take: text, numbers, lists, null."""
_SIZES: Mapping[str, tuple[str, int]] = {
    "spec.clusters": ("maxItems", 100),
    "spec.clusters[].models": ("maxItems", 200),
    "spec.gateway.providers": ("maxItems", 32),
    "spec.gateway.rules": ("maxItems", 100),
    "spec.gateway.rules[].match.classes": ("maxItems", 3),
    "spec.gateway.rules[].match.headers": ("maxProperties", 16),
    "spec.gateway.rules[].match.models": ("maxItems", 200),
    "spec.gateway.rules[].match.tenants": ("maxItems", 1000),
    "spec.gateway.rules[].to": ("maxItems", 64),
    "spec.gateway.tenants": ("maxItems", 1000),
    "spec.gateway.tenants[].keys": ("maxItems", 64),
    "spec.gateway.tenants[].keys[].models": ("maxItems", 1000),
    "spec.gateway.tenants[].models": ("maxItems", 1000),
    "spec.hardware.calibrations": ("maxProperties", 64),
    "spec.hardware.classes": ("maxItems", 64),
    "spec.hardware.classes[].tolerations": ("maxItems", 32),
    "spec.hardware.gpus": ("maxItems", 64),
    "spec.hardware.usdPerGpuHour": ("maxProperties", 64),
    "spec.models": ("maxItems", 200),
    "spec.models[].adapters": ("maxItems", 64),
    "spec.models[].aliases": ("maxItems", 8),
    "spec.models[].autoscaling.schedule": ("maxItems", 64),
    "spec.models[].endpoints": ("maxItems", 256),
    "spec.models[].endpoints[]": ("maxLength", 300),
    "spec.models[].engine.env": ("maxProperties", 256),
    "spec.models[].fallbacks": ("maxItems", 16),
    "spec.models[].fallbacks[].when": ("maxItems", 3),
    "spec.models[].fallbacks[].provider": ("maxLength", 63),
    "spec.models[].revision": ("maxLength", 256),
    "spec.models[].scheduling.tolerations": ("maxItems", 32),
    "spec.models[].source": ("maxLength", 1024),
}
"""Bounds that the API server needs to know what a rule costs at most; larger than any fleet that was seen."""
_KEYS: Mapping[str, tuple[str, ...]] = {
    "spec.gateway.providers": ("name",),
    "spec.gateway.tenants": ("name",),
    "spec.hardware.classes": ("gpu",),
    "spec.models": ("name",),
}
"""Lists that are mappings by a field: the API server keeps it unique, and merges entry by entry."""
_SETS = ("spec.models[].aliases", "spec.models[].endpoints")
"""Lists without repetition."""


def spec_schema() -> Node:
    """The schema of `spec`."""
    whole = fleet_schema()
    node: Node = _node(whole["$defs"]["FleetSpec"], whole["$defs"], "spec")
    return node


def _node(source: Mapping[str, Any], defs: Mapping[str, Any], at: str) -> Node:
    """One node; `at` is its path, with `[]` for the items of a list."""
    source = _resolved(source, defs)
    node: Node = {name: source[name] for name in _KEPT if name in source}
    if at in _FREE:
        return {**node, "x-kubernetes-preserve-unknown-fields": True}
    if "const" in source or "enum" in source:
        node["enum"] = list(source.get("enum", [source.get("const")]))
    for end in ("Minimum", "Maximum"):
        if f"exclusive{end}" in source:
            node[end.lower()] = source[f"exclusive{end}"]
            node[f"exclusive{end}"] = True
    if at in _SIZES:
        name, size = _SIZES[at]
        node[name] = size
    match node.get("type"):
        case "object":
            node |= _members(source, defs, at)
        case "array":
            node["items"] = _node(source["items"], defs, f"{at}[]")
            if at in _KEYS:
                node |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(_KEYS[at])}
            elif at in _SETS:
                node["x-kubernetes-list-type"] = "set"
    return node


def _members(source: Mapping[str, Any], defs: Mapping[str, Any], at: str) -> Node:
    if "properties" in source:
        fields = {name: _node(field, defs, f"{at}.{name}") for name, field in source["properties"].items()}
        required = {"required": list(source["required"])} if source.get("required") else {}
        return {**required, "properties": fields}
    (value,) = source.get("patternProperties", {"": source.get("additionalProperties")}).values()
    return {"additionalProperties": _node(value, defs, f"{at}{{}}")}


def _resolved(source: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without references, and without the null of what may be left out: the API server drops a null by itself."""
    while "$ref" in source or "anyOf" in source:
        if "$ref" in source:
            inner = defs[source["$ref"].rsplit("/", 1)[-1]]
        else:
            others = [member for member in source["anyOf"] if member.get("type") != "null"]
            if len(others) != 1:
                return source
            (inner,) = others
        source = {**inner, **{name: value for name, value in source.items() if name not in ("$ref", "anyOf")}}
    return source
