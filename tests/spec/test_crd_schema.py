"""The schema is structural: what an API server takes as the shape of a custom resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penstock.spec.crd_schema import spec_schema

FREE = "x-kubernetes-preserve-unknown-fields"
FORBIDDEN = {
    *("$ref", "anyOf", "oneOf", "allOf", "not", "default", "title", "const", "patternProperties", "propertyNames"),
    *("writeOnly", "format", "examples", "uniqueItems"),
}


def _nodes(node: dict[str, Any], path: str = "spec") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from _nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in node:
            yield from _nodes(node[name], f"{path}[]")


def test_every_node_has_a_type_and_nothing_that_a_structural_schema_may_not_have() -> None:
    for path, node in _nodes(spec_schema()):
        assert "type" in node, path
        assert not FORBIDDEN & set(node), path


def test_an_object_is_closed_or_a_mapping_or_free_and_only_engine_flags_are_free() -> None:
    nodes = dict(_nodes(spec_schema()))
    free = [path for path, node in nodes.items() if FREE in node]

    for path, node in nodes.items():
        if node["type"] == "object":
            assert sum(name in node for name in ("properties", "additionalProperties", FREE)) == 1, path
    assert free == ["spec.models[].engine.args"]


def test_bounds_that_exclude_their_end_are_said_as_openapi_says_them() -> None:
    speed = dict(_nodes(spec_schema()))["spec.models[].engine.speed"]

    assert (speed["minimum"], speed["exclusiveMinimum"]) == (0, True)


def test_lists_with_a_key_hold_that_key_in_every_entry() -> None:
    for path, node in _nodes(spec_schema()):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


def test_patterns_are_ones_that_a_linear_engine_takes() -> None:
    """RE2 has no look-around, back-references or possessive quantifiers."""
    patterns = [node["pattern"] for _, node in _nodes(spec_schema()) if "pattern" in node]

    assert len(patterns) > 20
    for pattern in patterns:
        re.compile(pattern)
        assert not re.search(r"\(\?[=!<]|\\[1-9]|[*+?}]\+", pattern), pattern


def test_every_field_is_explained_in_one_line() -> None:
    for path, node in _nodes(spec_schema()):
        if not path.endswith("[]"):
            assert node["description"], path
            assert "\n" not in node["description"], path
