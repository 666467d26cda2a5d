"""Objects of built-in kinds as the server's own types hold them: checked types, dropped emptiness, canonical values.

A real server reads JSON into structs and writes those again: unknown fields, nulls and empty optional values do not
survive that, and quantities come back in their canonical form. Clients that compare what they sent with what they get
meet that, so the fake does it too. Guarantees: decoding twice is decoding once. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import invalid_value, required
from penstock.operate.testing.quantities import canonical
from penstock.operate.testing.schemas import ANY, Shape
from penstock.operate.testing.status import Cause, bad_request

__all__ = ["decode", "missing_fields", "unknown_fields"]

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_OPEN = ("RawExtension", "FieldsV1", "JSONSchemaProps", ".JSON", "CustomResourceSubresourceStatus")
"""Definitions whose fields are anybody's; a CustomResourceDefinition's schema is kept as it was written."""
_KEPT_EMPTY_TEXT = {
    *("storageClassName", "ingressClassName", "runtimeClassName", "appProtocol", "localhostProfile", "key"),
    *("volumeAttributesClassName", "name", "namespace", "pattern", "group", "message", "reason", "apiGroup"),
}
"""Text fields that are pointers, or have no `omitempty`: empty differs from absent."""
_DROPPED_FALSE = {
    *("hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty", "paused", "unschedulable"),
    *("publishNotReadyAddresses",),
}
_DROPPED_ZERO = {
    *("minReadySeconds", "initialDelaySeconds", "nodePort", "hostPort", "healthCheckNodePort", "weight_"),
    *("updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "fullyLabeledReplicas"),
    *("observedGeneration", "active", "succeeded", "failed", "terminatingReplicas"),
}
_GO_TYPES = {"integer": "int32", "boolean": "bool", "string": "string", "number": "float64"}


def unknown_fields(obj: Any, shape: Shape, at: str = "") -> list[str]:
    """Paths of fields that the kind does not have, in the order of the object."""
    return list(_unknown(obj, shape, at))


def _is_open(shape: Shape) -> bool:
    return shape.preserves_unknown or any(shape.reference.endswith(name) for name in _OPEN)


def _unknown(value: Any, shape: Shape, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        if _is_open(shape) and not shape.is_struct:
            return
        for name, below in value.items():
            child = shape.child(name)
            here = f"{at}.{name}" if at else name
            if child is not None:
                yield from _unknown(below, child, here)
            elif shape.is_known:
                yield here
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, shape.item, f"{at}[{index}]")


def decode(obj: dict[str, Any], shape: Shape, resource: Resource) -> dict[str, Any]:
    """`obj` as the server's types hold it.

    Raises:
        Refusal: 400, a value has another type than its field.
    """
    if not shape.is_struct:
        found: dict[str, Any] = clone(obj)
        return found
    decoded: dict[str, Any] = _decoded(obj, shape, "", "", resource)
    return decoded


def _decoded(value: Any, shape: Shape, at: str, owner: str, resource: Resource) -> Any:
    if shape.reference == _QUANTITY:
        return _quantity(value, at, resource)
    if shape.reference.endswith(("IntOrString", "JSON", "Time")) or _is_open(shape):
        return clone(value)
    _check_type(value, shape, at, owner, resource)
    if isinstance(value, dict):
        kind = shape.reference.rsplit(".", 1)[-1] or owner
        kept: dict[str, Any] = {}
        for name, below in value.items():
            child = shape.child(name)
            if child is None and shape.is_known:
                continue
            here = f"{at}.{name}" if at else name
            found = None if below is None else _decoded(below, child or ANY, here, kind, resource)
            if not (shape.has_field(name) and _is_absent(name, found, child or ANY)) and found is not None:
                kept[name] = found
        return kept
    if isinstance(value, list):
        return [_decoded(item, shape.item, f"{at}[{i}]", owner, resource) for i, item in enumerate(value)]
    return value


def _is_absent(name: str, value: Any, shape: Shape) -> bool:
    """Whether Go writes nothing for this value of a field."""
    match value:
        case []:
            return name != "rules"
        case dict() if not value:
            return shape.is_free_map
        case "":
            return name not in _KEPT_EMPTY_TEXT
        case False:
            return name in _DROPPED_FALSE
        case 0:
            return name in _DROPPED_ZERO
        case _:
            return False


def _check_type(value: Any, shape: Shape, at: str, owner: str, resource: Resource) -> None:
    expected = [name for name in shape.types if name != "null"]
    if not expected or "oneOf" in shape.raw or value is None:
        return
    match value:
        case bool():
            found, go = "boolean", "bool"
        case int():
            found, go = "integer", "number"
        case float():
            found, go = "number", "number"
        case str():
            found, go = "string", "string"
        case list():
            found, go = "array", "array"
        case _:
            found, go = "object", "object"
    if found in expected or (found == "integer" and "number" in expected):
        return
    wanted = _GO_TYPES.get(expected[0], "")
    if expected[0] == "integer" and shape.raw.get("format") == "int64":
        wanted = "int64"
    if expected[0] == "object":
        wanted = "map[string]string" if shape.is_free_map else f"v1.{shape.reference.rsplit('.', 1)[-1]}"
    elif expected[0] == "array":
        wanted = f"[]{shape.item.reference.rsplit('.', 1)[-1] or 'string'}"
    path = re.sub(r"\[\d+\]", "", at)
    raise bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: cannot '
        f"unmarshal {go} into Go struct field {owner or resource.kind}.{path} of type {wanted}"
    )


def _quantity(value: Any, at: str, resource: Resource) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return canonical(value)
        except ValueError as error:
            words = str(error)
    else:
        words = "unable to parse quantity's suffix"
    raise bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {words} (at {at})'
    )


def missing_fields(value: Any, shape: Shape, at: str = "") -> Iterator[Cause]:
    """Fields that a kind requires and that are not there."""
    if isinstance(value, dict):
        if _is_open(shape):
            return
        for name in shape.raw.get("required") or ():
            if name not in value and shape.is_struct and not _is_server_made(at, name):
                yield required(f"{at}.{name}" if at else name)
        for name, below in value.items():
            child = shape.child(name)
            if child is not None and name != "status" and (at or name != "metadata"):
                mark = f"{at}[{name}]" if shape.is_free_map else f"{at}.{name}" if at else name
                yield from missing_fields(below, child, mark)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from missing_fields(item, shape.item, f"{at}[{index}]")
    elif isinstance(value, int) and not isinstance(value, bool) and at.endswith("replicas") and value < 0:
        yield invalid_value(at, value, "must be greater than or equal to 0")


def _is_server_made(at: str, name: str) -> bool:
    """Fields that the schema requires of what is stored, not of what is sent."""
    return not at and name in ("status", "metadata")
