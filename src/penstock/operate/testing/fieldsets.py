"""Sets of fields of an object, in the form of `managedFields`: which paths a field manager owns.

A path is a tuple of elements as `fieldsV1` writes them: `f:spec`, `k:{"name":"engine"}`, `v:"a"`. Guarantees: encoding
and decoding are inverse; the encoded form is the real server's (keys sorted, `.` where a node itself is a member and
has children). Source: `sigs.k8s.io/structured-merge-diff`, `fieldpath`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["FieldPath", "FieldSet", "decode_fields", "encode_fields", "key_element", "shown", "value_element"]

FieldPath = tuple[str, ...]
FieldSet = frozenset[FieldPath]


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def key_element(keys: dict[str, Any]) -> str:
    """The element of an item of a list that is a map: by its keys."""
    return "k:" + _compact(keys)


def value_element(value: Any) -> str:
    """The element of an item of a list that is a set: the value itself."""
    return "v:" + _compact(value)


def encode_fields(paths: Iterable[FieldPath]) -> dict[str, Any]:
    """The `fieldsV1` object."""
    members = set(paths)
    root: dict[str, Any] = {}
    for path in sorted(members):
        node = root
        for index, element in enumerate(path):
            node = node.setdefault(element, {})
            if path[: index + 1] in members and index + 1 < len(path):
                node["."] = {}
    return _sorted(root)


def _sorted(node: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(node[key]) for key in sorted(node)}


def decode_fields(fields: dict[str, Any]) -> FieldSet:
    """The paths of a `fieldsV1` object."""
    found: set[FieldPath] = set()

    def walk(node: dict[str, Any], path: FieldPath) -> None:
        for element, below in node.items():
            if element == ".":
                found.add(path)
                continue
            if not below:
                found.add((*path, element))
            walk(below, (*path, element))

    walk(fields, ())
    return frozenset(found)


def shown(path: FieldPath) -> str:
    """A path as messages have it: `.spec.template.spec.containers[name="engine"].image`."""
    text = ""
    for element in path:
        mark, rest = element[0], element[2:]
        match mark:
            case "f":
                text += f".{rest}"
            case "k":
                keys = json.loads(rest)
                text += "[" + ",".join(f"{name}={_compact(keys[name])}" for name in sorted(keys)) + "]"
            case "v":
                text += f"[={rest}]"
            case _:
                text += f"[{rest}]"
    return text
