"""The JSON Schema says what the types say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from penstock.spec import Fleet
from penstock.spec.schema import fleet_schema
from penstock.spec.shape import walk


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object schema that has properties."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for item in node:
            yield from objects(item)


def test_the_dialect_and_the_identity_are_stated() -> None:
    schema = fleet_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("https://penstock.dev/v1alpha1/")
    assert schema["required"] == ["apiVersion", "kind", "metadata", "spec"]


def test_every_field_of_the_types_is_in_it_with_a_description_in_one_line() -> None:
    schema = fleet_schema()
    described = {
        (name, field.get("description") or schema["$defs"][field["$ref"].rpartition("/")[2]]["description"])
        for found in objects(schema)
        for name, field in found["properties"].items()
    }

    assert described == {(str(path[-1]), field.description) for path, field in walk(Fleet)}
    assert all("\n" not in description for _, description in described)


def test_no_object_takes_unknown_fields() -> None:
    assert all(found["additionalProperties"] is False for found in objects(fleet_schema()))


def test_a_key_comes_from_exactly_one_place() -> None:
    definitions = fleet_schema()["$defs"]

    assert definitions["KeySpec"]["oneOf"] == [{"required": ["value"]}, {"required": ["valueFrom"]}]
    assert definitions["ValueSource"]["oneOf"] == [{"required": ["env"]}, {"required": ["secretKeyRef"]}]


def test_it_is_json_and_the_same_each_time() -> None:
    assert json.dumps(fleet_schema()) == json.dumps(fleet_schema())


def test_no_field_is_called_what_older_yaml_takes_for_a_boolean() -> None:
    """`kubectl` reads YAML 1.1, where a key `on` becomes true; the file is also a custom resource."""
    names = {str(path[-1]).lower() for path, _ in walk(Fleet)}

    assert names.isdisjoint({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
