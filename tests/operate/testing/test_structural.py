"""Custom resources against their schema: what is cut, filled in and refused."""

from __future__ import annotations

import pytest

from operate.testing.api import APPLY, FLEETS, MERGE, fleet, with_fleets
from penstock.operate.testing.schemas import CUSTOM, Shape
from penstock.operate.testing.structural import structural_causes, with_structural_defaults, without_unknown


def test_unknown_fields_of_custom_resources_are_pruned_or_refused() -> None:
    api = with_fleets()

    warned = api.send("POST", FLEETS, fleet("a", extra=1))
    refused = api.refused("POST", FLEETS, fleet("b", extra=1), fieldValidation="Strict")
    ignored = api.send("POST", FLEETS, fleet("c", extra=1), fieldValidation="Ignore")

    assert "extra" not in warned.body["spec"]
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.extra\\""'
    assert refused["message"] == (
        'Fleet in version "v1" cannot be handled as a Fleet: strict decoding error: unknown field "spec.extra"'
    )
    assert "extra" not in ignored.body["spec"]
    assert "Warning" not in ignored.headers


def test_defaults_of_the_schema_are_filled_in() -> None:
    assert with_fleets().ok("POST", FLEETS, fleet())["spec"] == {"replicas": 2, "mode": "auto"}


@pytest.mark.parametrize(
    ("spec", "reason", "message", "field"),
    [
        ({"replicas": -1}, "FieldValueInvalid",
         "Invalid value: -1: spec.replicas in body should be greater than or equal to 0", "spec.replicas"),
        ({"replicas": "2"}, "FieldValueTypeInvalid",
         'Invalid value: "string": spec.replicas in body must be of type integer: "string"', "spec.replicas"),
        ({"mode": "wild"}, "FieldValueNotSupported",
         'Unsupported value: "wild": supported values: "auto", "manual"', "spec.mode"),
        ({"models": [{"gpus": 1}]}, "FieldValueRequired", "Required value", "spec.models[0].name"),
        ({"models": [{"name": "a"}, {"name": "a"}]}, "FieldValueDuplicate",
         'Duplicate value: {"name":"a"}', "spec.models[1]"),
    ],
)  # fmt: skip
def test_custom_resources_are_held_to_their_schema(spec: dict, reason: str, message: str, field: str) -> None:
    refused = with_fleets().refused("POST", FLEETS, fleet("a", **spec))

    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    assert refused["details"]["causes"] == [{"reason": reason, "message": message, "field": field}]
    assert refused["message"] == f'Fleet.penstock.dev "a" is invalid: {field}: {message}'
    assert refused["details"]["kind"] == "Fleet"


def test_a_list_of_a_custom_resource_merges_by_its_keys() -> None:
    api = with_fleets()
    api.apply(f"{FLEETS}/a", fleet("a", models=[{"name": "one"}]), manager="first")

    second = {"apiVersion": "penstock.dev/v1", "kind": "Fleet", "metadata": {"name": "a"}}
    both = api.apply(f"{FLEETS}/a", second | {"spec": {"replicas": 2, "models": [{"name": "two", "gpus": 1}]}})

    assert both["spec"]["models"] == [{"name": "one"}, {"name": "two", "gpus": 1}]
    refused = api.refused("PATCH", f"{FLEETS}/a", fleet("a", extra=1), kind=APPLY, fieldManager="penstock")
    assert ".spec.extra: field not declared in schema" in refused["message"]


def test_an_update_of_a_custom_resource_names_its_version() -> None:
    api = with_fleets()
    created = api.ok("POST", FLEETS, fleet())
    unversioned = {key: value for key, value in created["metadata"].items() if key != "resourceVersion"}

    refused = api.refused("PUT", f"{FLEETS}/a", created | {"metadata": unversioned})

    assert refused["message"].endswith("metadata.resourceVersion: Invalid value: 0: must be specified for an update")


def test_a_null_becomes_the_default() -> None:
    api = with_fleets()
    api.ok("POST", FLEETS, fleet("a"))

    patched = api.ok("PATCH", f"{FLEETS}/a", {"spec": {"mode": None}}, kind=MERGE)

    assert patched["spec"]["mode"] == "auto"


def shape(schema: dict) -> Shape:
    return Shape({"type": "object", "properties": {"spec": schema}}, {CUSTOM: True})


def test_what_the_schema_leaves_open_stays() -> None:
    opened = shape({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    closed = shape({"type": "object", "additionalProperties": {"type": "integer"}})

    assert without_unknown({"spec": {"any": {"thing": 1}}}, opened) == {"spec": {"any": {"thing": 1}}}
    assert without_unknown({"spec": {"a": 1}, "other": 1}, closed) == {"spec": {"a": 1}}
    assert structural_causes({"spec": {"a": "x"}}, None, closed)[0].reason == "FieldValueTypeInvalid"


def test_defaults_go_into_what_they_made() -> None:
    inner = {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}}

    assert with_structural_defaults({}, shape(inner)) == {"spec": {"n": 3}}


def test_combinations_are_checked() -> None:
    either = shape(
        {"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    )

    assert structural_causes({"spec": {"a": 1}}, None, either) == []
    assert "must validate one and only one" in structural_causes({"spec": {}}, None, either)[0].message
    assert structural_causes({"spec": {"a": 1, "b": 1}}, None, either)
