"""Checks a custom resource as an API server would: structure, unknown fields, sizes, CEL rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import cel
import jsonschema

from penstock.spec.crd import fleet_crd

_PLAIN = ("type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "required")


@cache
def schema() -> dict[str, Any]:
    found: dict[str, Any] = fleet_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def problems(resource: dict[str, Any]) -> list[str]:
    """What the API server would say, one line each."""
    validator = jsonschema.Draft202012Validator(_closed(schema(), is_root=True))
    found = [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(resource)]
    return found or [*_broken(schema(), resource, ""), *_repeated(schema(), resource, "")]


def _closed(node: dict[str, Any], *, is_root: bool = False) -> dict[str, Any]:
    out = {name: node[name] for name in _PLAIN if name in node}
    for end in ("minimum", "maximum"):
        if end in node:
            is_exclusive = node.get(f"exclusive{end.title()}", False)
            out[f"exclusive{end.title()}" if is_exclusive else end] = node[end]
    if "items" in node:
        out["items"] = _closed(node["items"])
    if "additionalProperties" in node:
        out["additionalProperties"] = _closed(node["additionalProperties"])
    if "properties" in node:
        out["properties"] = {name: _closed(inner) for name, inner in node["properties"].items()}
        if is_root:
            out["properties"]["metadata"] = {}
        out["additionalProperties"] = False
    return out


def _children(node: dict[str, Any], value: Any, at: str) -> Iterator[tuple[dict[str, Any], Any, str]]:
    if isinstance(value, dict):
        for name, inner in node.get("properties", {}).items():
            if name in value:
                yield inner, value[name], f"{at}.{name}"
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield node["items"], item, f"{at}[{place}]"


def _broken(node: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        if cel.evaluate(rule["rule"], {"self": value}) is not True:
            yield f"{at}: {rule['message']}"
    for inner, child, place in _children(node, value, at):
        yield from _broken(inner, child, place)


def _repeated(node: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    kind = node.get("x-kubernetes-list-type")
    if kind == "set" and len(set(value)) < len(value):
        yield f"{at}: repeats an entry"
    if kind == "map":
        keys = [tuple(item.get(key) for key in node["x-kubernetes-list-map-keys"]) for item in value]
        if len(set(keys)) < len(keys):
            yield f"{at}: repeats a key"
    for inner, child, place in _children(node, value, at):
        yield from _repeated(inner, child, place)
