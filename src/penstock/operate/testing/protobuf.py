"""The protobuf form of the few kinds that `kubectl` sends so: what its `create`, `auth can-i` and `drain` post. Pure.

Field numbers are those of the `generated.proto` files of `k8s.io/api` and `k8s.io/apimachinery`. Any other kind is
refused with 415 and its name; answers are JSON, which those clients accept as well.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.operate.testing.status import Refusal, bad_request

__all__ = ["CONTENT_TYPE", "decode"]

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEPTH_MAX = 16

Fields = Mapping[int, tuple[str, Any]]
"""By number: name and how to read it: `text`, `int`, `bool`, `texts`, `map`, `bytes map`, or a message's fields."""

_META: Fields = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    5: ("uid", "text"),
    6: ("resourceVersion", "text"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
    14: ("finalizers", "texts"),
}
_DELETE: Fields = {
    1: ("gracePeriodSeconds", "int"),
    2: ("preconditions", {1: ("uid", "text"), 2: ("resourceVersion", "text")}),
    4: ("propagationPolicy", "text"),
    5: ("dryRun", "texts"),
}
_ATTRIBUTES: Fields = {
    1: ("namespace", "text"),
    2: ("verb", "text"),
    3: ("group", "text"),
    4: ("version", "text"),
    5: ("resource", "text"),
    6: ("subresource", "text"),
    7: ("name", "text"),
}
_PLAIN: Fields = {1: ("metadata", _META)}
_KINDS: dict[str, Fields] = {
    "ConfigMap": {
        1: ("metadata", _META),
        2: ("data", "map"),
        3: ("binaryData", "bytes map"),
        4: ("immutable", "bool"),
    },
    "DeleteOptions": _DELETE,
    "Eviction": {1: ("metadata", _META), 2: ("deleteOptions", _DELETE)},
    "Namespace": _PLAIN,
    "Secret": {1: ("metadata", _META), 2: ("data", "bytes map"), 3: ("type", "text"), 4: ("stringData", "map")},
    "SelfSubjectAccessReview": {
        1: ("metadata", _META),
        2: (
            "spec",
            {
                1: ("resourceAttributes", _ATTRIBUTES),
                2: ("nonResourceAttributes", {1: ("path", "text"), 2: ("verb", "text")}),
            },
        ),
    },
    "SelfSubjectReview": _PLAIN,
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", "text")})},
    "ServiceAccount": _PLAIN,
}


def decode(body: bytes) -> dict[str, Any]:
    """The object of a body.

    Raises:
        Refusal: 400 where it is no such body, 415 where its kind is not one of those read here.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_entries(body[len(_MAGIC) :]))
        meta = _message(envelope[1], {1: ("apiVersion", "text"), 2: ("kind", "text")})
        fields = _KINDS.get(meta.get("kind", ""))
        if fields is None:
            words = f"the fake server reads no protobuf of kind {meta.get('kind')}; send application/json"
            raise Refusal(415, "UnsupportedMediaType", words)
        return meta | _message(envelope.get(2, b""), fields)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise bad_request(f"the body is not a message of Kubernetes: {error}") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number has no end")


def _entries(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise ValueError("a field is longer than the message")
                yield key >> 3, data[at : at + length]
                at += length
            case 1:
                at += 8
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def _message(data: bytes, fields: Fields, depth: int = 0) -> dict[str, Any]:
    if depth > _DEPTH_MAX:
        raise ValueError("messages are nested too deep")
    found: dict[str, Any] = {}
    for number, raw in _entries(data):
        if number not in fields:
            continue
        name, kind = fields[number]
        match kind:
            case "text":
                if raw:
                    found[name] = raw.decode("utf-8")
            case "int":
                found[name] = raw if raw < 1 << 63 else raw - (1 << 64)
            case "bool":
                found[name] = bool(raw)
            case "texts":
                found.setdefault(name, []).append(raw.decode("utf-8"))
            case "map" | "bytes map":
                entry = dict(_entries(raw))
                value = entry.get(2, b"")
                text = base64.b64encode(value).decode() if kind == "bytes map" else value.decode("utf-8")
                found.setdefault(name, {})[entry.get(1, b"").decode("utf-8")] = text
            case _:
                found[name] = _message(raw, kind, depth + 1)
    return found
