"""JSON merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch. Pure; arguments are never changed.

Strategic merge patch covers lists that merge by key or by value, `$patch: replace|delete|merge`,
`$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`. Source: `k8s.io/apimachinery`, `util/strategicpatch`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from penstock.operate.testing.merge import clone
from penstock.operate.testing.schemas import ANY, Shape
from penstock.operate.testing.status import Refusal, bad_request

__all__ = ["OPERATIONS_MAX", "json_patch", "merge_patch", "strategic_patch"]

OPERATIONS_MAX = 10_000
"""Most operations of one JSON patch (the real server's limit)."""


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = clone(value) if isinstance(value, dict) else {}
    for name, below in patch.items():
        if below is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), below)
    return result


def json_patch(value: Any, operations: Any) -> Any:
    """RFC 6902. A test that fails is a 422, as is a path that is not there."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > OPERATIONS_MAX:
        raise Refusal(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}",
        )
    result = clone(value)
    for operation in operations:
        try:
            result = _operate(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _failed(operation) from error
    return result


def _failed(operation: Any) -> Refusal:
    path = operation.get("path", "") if isinstance(operation, dict) else ""
    name = operation.get("op", "") if isinstance(operation, dict) else ""
    if name == "test":
        words = f"testing value {path} failed: test failed"
    else:
        words = f"{name} operation does not apply: doc is missing path: {path}: missing value"
        if name == "remove":
            words = f"remove operation does not apply: doc is missing key: {path}: missing value"
    return Refusal(422, "Invalid", f"the server rejected our request due to an error in our request: {words}", {})


def _pointer(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise ValueError(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _at(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _operate(value: Any, operation: dict[str, Any]) -> Any:
    parts = _pointer(operation["path"])
    match operation["op"]:
        case "test":
            if _at(value, parts) != operation.get("value"):
                raise ValueError("test failed")
            return value
        case "add":
            return _put(value, parts, clone(operation["value"]), is_new=True)
        case "replace":
            _at(value, parts)
            return _put(value, parts, clone(operation["value"]), is_new=False)
        case "remove":
            _remove(value, parts)
            return value
        case "copy":
            return _put(value, parts, clone(_at(value, _pointer(operation["from"]))), is_new=True)
        case "move":
            source = _pointer(operation["from"])
            moved = _at(value, source)
            _remove(value, source)
            return _put(value, parts, moved, is_new=True)
        case other:
            raise ValueError(other)


def _put(value: Any, parts: Sequence[str], new: Any, *, is_new: bool) -> Any:
    if not parts:
        return new
    parent = _at(value, parts[:-1])
    if isinstance(parent, list):
        index = len(parent) if parts[-1] == "-" else int(parts[-1])
        if is_new:
            if index > len(parent):
                raise IndexError(index)
            parent.insert(index, new)
        else:
            parent[index] = new
    elif isinstance(parent, dict):
        parent[parts[-1]] = new
    else:
        raise TypeError(parts[-1])
    return value


def _remove(value: Any, parts: Sequence[str]) -> None:
    parent = _at(value, parts[:-1])
    del parent[int(parts[-1]) if isinstance(parent, list) else parts[-1]]


def _key_of(shape: Shape) -> str:
    """The one key by which a strategic merge patch merges a list; empty where it replaces it."""
    if shape.raw.get("x-kubernetes-patch-strategy") or not shape.raw:
        key = shape.raw.get("x-kubernetes-patch-merge-key") or (shape.list_keys[0] if shape.list_keys else "")
        return str(key)
    return ""


def _is_primitive_merge(shape: Shape) -> bool:
    return "merge" in str(shape.raw.get("x-kubernetes-patch-strategy", "")) or shape.list_type == "set"


def strategic_patch(value: Any, patch: dict[str, Any], shape: Shape) -> Any:
    """`value` with `patch`, lists merged by the keys that the API's schema gives."""
    if patch.get("$patch") == "replace":
        return clone({name: below for name, below in patch.items() if name != "$patch"})
    if patch.get("$patch") == "delete":
        return {}
    result: dict[str, Any] = clone(value) if isinstance(value, dict) else {}
    if "$retainKeys" in patch:
        result = {name: below for name, below in result.items() if name in patch["$retainKeys"]}
    for name, below in patch.items():
        child = shape.child(name) or ANY
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            result[field] = [item for item in result.get(field) or () if item not in below]
        elif name.startswith("$"):
            continue
        elif below is None:
            result.pop(name, None)
        elif isinstance(below, dict):
            result[name] = strategic_patch(result.get(name), below, child)
        elif isinstance(below, list):
            result[name] = _patch_list(result.get(name) or [], below, child, patch.get(f"$setElementOrder/{name}"))
        else:
            result[name] = below
    for name, order in patch.items():
        field = name.partition("/")[2]
        if name.startswith("$setElementOrder/") and field in result and field not in patch:
            result[field] = _ordered(result[field], order, _key_of(shape.child(field) or ANY))
    return result


def _patch_list(live: list[Any], patch: list[Any], shape: Shape, order: list[Any] | None) -> list[Any]:
    key = _key_of(shape)
    if not key:
        if not _is_primitive_merge(shape) or any(isinstance(item, dict) for item in patch):
            return [clone(item) for item in patch if not (isinstance(item, dict) and "$patch" in item)]
        merged = live + [item for item in patch if item not in live]
        return _ordered(merged, order, "") if order else merged
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [clone(item) for item in patch if item.get("$patch") != "replace"]
    result = [clone(item) for item in live]
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {json.dumps(item)} does not contain declared merge key: {key}")
        found = next((index for index, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif found is None:
            result.append(strategic_patch({}, item, shape.item))
        else:
            result[found] = strategic_patch(result[found], item, shape.item)
    return _ordered(result, order, key) if order else result


def _ordered(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """`items` in the order that the client gives; those it does not name stay behind."""
    ranks = {json.dumps(each[key] if key else each): rank for rank, each in enumerate(order)}
    return sorted(items, key=lambda item: ranks.get(json.dumps(item.get(key) if key else item), len(ranks)))
