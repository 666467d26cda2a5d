"""Bodies of requests as values: JSON, YAML, and protobuf of the few kinds that `kubectl` sends so. Pure.

Guarantees: a field that stands twice is noticed; what cannot be read is a refusal in the real server's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.errors import SpecError
from penstock.operate.testing import protobuf
from penstock.operate.testing.status import bad_request, unsupported_media_type
from penstock.spec.document import parse_document

__all__ = ["APPLY", "read_body"]

APPLY = "application/apply-patch+yaml"
_YAML = ("application/yaml", APPLY)
_PLAIN = ("application/json", "application/yaml", protobuf.CONTENT_TYPE)


def read_body(body: bytes, headers: Mapping[str, str], method: str) -> tuple[Any, list[str]]:
    """The value, and the paths of fields that stand twice in it.

    Raises:
        Refusal: 400 or 415.
    """
    if not body or method not in ("POST", "PUT", "PATCH", "DELETE"):
        return None, []
    content_type = headers.get("content-type", "").split(";")[0].strip()
    if content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode(body), []
    if content_type in _YAML:
        return _yaml(body)
    if method != "PATCH" and content_type not in ("", *_PLAIN):
        raise unsupported_media_type(_PLAIN)
    return _json(body)


def _json(body: bytes) -> tuple[Any, list[str]]:
    seen: list[tuple[int, str]] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                seen.append((id(found), name))
            found[name] = value
        kept.append(found)
        return found

    kept: list[dict[str, Any]] = []  # held until the paths are known, so that no id is given twice
    try:
        value = json.loads(body, object_pairs_hook=build)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    return value, [path for node, name in seen for path in _paths(value, node, name, "")]


def _paths(value: Any, node: int, name: str, at: str) -> list[str]:
    """Where the object with this identity stands, with `name` behind."""
    if isinstance(value, dict):
        here = [f"{at}.{name}".lstrip(".")] if id(value) == node else []
        return here + [found for key, below in value.items() for found in _paths(below, node, name, f"{at}.{key}")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _paths(item, node, name, f"{at}[{i}]")]
    return []


def _yaml(body: bytes) -> tuple[Any, list[str]]:
    """JSON as it is, or one YAML document."""
    try:
        return json.loads(body), _json(body)[1]
    except ValueError:
        pass
    try:
        document = parse_document(body.decode("utf-8", "replace"), "the body")
    except SpecError as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if document.problems:
        raise bad_request(f"error decoding YAML: {document.problems[0].message}")
    return document.value, []
