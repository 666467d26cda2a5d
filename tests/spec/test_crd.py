"""The CustomResourceDefinition takes what the loader takes, and is one that an API server takes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.errors import SpecError
from penstock.spec import Fleet
from penstock.spec.crd import CRD_NAME, fleet_crd, fleet_resource
from penstock.spec.loader import load_fleet
from penstock.spec.schema import fleet_schema
from spec.crd_checks import problems
from spec.fleets import fleet_text

_FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted([*_FOLDER.glob("*.yaml"), *(_FOLDER / "kubernetes").glob("*.yaml")])


def test_the_definition_is_a_valid_object_and_small() -> None:
    crd = fleet_crd()

    kubernetes_validate.validate(crd, kubernetes_validate.latest_version(), strict=True)
    assert crd["metadata"]["name"] == CRD_NAME == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    assert len(json.dumps(crd)) < 1024 * 1024  # what fits an annotation of `kubectl apply` is a quarter of it


def test_the_definition_is_the_same_every_time() -> None:
    assert fleet_crd() == fleet_crd()
    assert fleet_crd() is not fleet_crd()


def test_kubectl_prints_models_ready_revision_rollout_and_age() -> None:
    (version,) = fleet_crd()["spec"]["versions"]

    names = [column["name"] for column in version["additionalPrinterColumns"]]
    assert names == ["Models", "Ready", "Revision", "Rollout", "Age"]
    assert version["subresources"] == {"status": {}}
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    for column in version["additionalPrinterColumns"][:-1]:
        *_, group, field = column["jsonPath"].split(".")
        assert field in status[group]["properties"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_accepted(path: Path) -> None:
    fleet = load_fleet(path.read_text(encoding="utf-8"), path.name)

    assert problems(fleet_resource(fleet, "llm")) == []


def test_a_resource_says_what_the_file_says_and_no_more() -> None:
    text = fleet_text(
        model="engine: {args: {max-num-batched-tokens: 8192, enable-log-requests: null}}, revision: null",
        gateway="tenants: [{name: a, keys: [{value: a-long-secret}]}], auth: {anonymous: false}",
    )

    resource = fleet_resource(load_fleet(text, "f.yaml"), "llm")

    assert resource == {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "small", "namespace": "llm"},
        "spec": {
            "models": [
                {"name": "chat", "engine": {"args": {"max-num-batched-tokens": 8192, "enable-log-requests": None}}}
            ],
            "gateway": {
                "tenants": [{"name": "a", "keys": [{"value": "a-long-secret"}]}],
                "auth": {"anonymous": False},
            },
        },
    }
    assert problems(resource) == []


def test_a_field_that_the_file_format_does_not_have_is_refused() -> None:
    resource = fleet_resource(load_fleet(fleet_text(), "f.yaml"), "llm")
    resource["spec"]["models"][0]["replica"] = 2

    assert "replica" in problems(resource)[0]


@cache
def _defs() -> dict[str, Any]:
    found: dict[str, Any] = fleet_schema()["$defs"]
    return found


def _values(node: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Values of a node of the loader's JSON Schema."""
    if "$ref" in node:
        return _values(_defs()[node["$ref"].rsplit("/", 1)[-1]], depth)
    if "anyOf" in node:
        return st.one_of([_values(member, depth) for member in node["anyOf"]])
    if "enum" in node or "const" in node:
        return st.sampled_from(node.get("enum", [node.get("const")]))
    match node["type"]:
        case "object" if "properties" in node:
            return _objects(node, depth)
        case "object":
            (value,) = node.get("patternProperties", {"": node.get("additionalProperties")}).values()
            return st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), _values(value, depth + 1), max_size=2)
        case "array":
            return st.lists(_values(node["items"], depth + 1), min_size=node.get("minItems", 0), max_size=2)
        case "string" if "pattern" in node:
            return st.from_regex(node["pattern"], fullmatch=True).filter(lambda t: t.isascii() and len(t) < 60)
        case "string":
            size = max(node.get("minLength", 0), 1)
            return st.sampled_from(["/m", "10Gi", "2", "127.0.0.1:80", "http://10.0.0.1:9"]) | st.text(
                "abc-", min_size=size, max_size=size + 4
            )
        case "integer":
            return st.integers(node.get("minimum", 0), min(node.get("maximum", 2_000), node.get("minimum", 0) + 2_000))
        case "number":
            low = node.get("minimum", node.get("exclusiveMinimum", 0))
            high = node.get("maximum", node.get("exclusiveMaximum", 1_000))
            return st.floats(low, high, exclude_min="exclusiveMinimum" in node, exclude_max="exclusiveMaximum" in node)
        case "boolean":
            return st.booleans()
        case _:
            return st.none()


def _objects(node: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    needed = set(node.get("required", ()))
    free = sorted(set(node["properties"]) - needed)

    @st.composite
    def draw_object(draw: st.DrawFn) -> dict[str, Any]:
        picked = draw(st.sets(st.sampled_from(free), max_size=2)) if free else set()
        return {name: draw(_values(node["properties"][name], depth + 1)) for name in sorted(needed | picked)}

    return draw_object()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_the_loader_accepts_the_definition_accepts(data: st.DataObject) -> None:
    spec = data.draw(_values({"$ref": "#/$defs/FleetSpec"}, 0))
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "small"}}
    try:
        fleet = Fleet.model_validate({**head, "spec": spec})
    except (ValidationError, SpecError):
        return

    resource = fleet_resource(fleet, "llm")

    assert problems(resource) == []
    again = Fleet.model_validate({**resource, "metadata": {"name": "small"}})
    assert fleet_resource(again, "llm") == resource
