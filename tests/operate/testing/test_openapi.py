"""The OpenAPI documents."""

from __future__ import annotations

from operate.testing.api import Api, needs_schemas, with_fleets
from penstock.operate.testing.openapi import index_of, openapi_v2, openapi_v3


@needs_schemas
def test_openapi_has_the_schemas_of_what_is_served() -> None:
    api = with_fleets()

    index = api.ok("GET", "/openapi/v3")["paths"]
    apps = api.ok("GET", "/openapi/v3/apis/apps/v1")
    fleets = api.ok("GET", "/openapi/v3/apis/penstock.dev/v1")["components"]["schemas"]

    assert {"api/v1", "apis/apps/v1", "apis/penstock.dev/v1"} <= set(index)
    schemas = apps["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["type"] == "array"
    assert fleets["dev.penstock.v1.Fleet"]["properties"]["spec"]["required"] == ["replicas"]
    patch = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]


def test_every_reference_is_in_the_document() -> None:
    catalog = with_fleets().cluster.catalog
    for place in index_of(catalog)["paths"]:
        document = openapi_v3(catalog, place)
        assert document is not None
        found = set(_references(document))
        assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(_references(openapi_v2(catalog))) <= {f"#/definitions/{n}" for n in openapi_v2(catalog)["definitions"]}


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for below in value.values() for ref in _references(below)]
    if isinstance(value, list):
        return [ref for below in value for ref in _references(below)]
    return []


def test_version_2_is_json_only() -> None:
    api = Api()

    assert (
        api.refused("GET", "/openapi/v2", accept="application/com.github.proto-openapi.spec.v2.v1.0+protobuf")["code"]
        == 406
    )
    assert api.ok("GET", "/openapi/v2")["swagger"] == "2.0"
    assert api.refused("GET", "/openapi/v3/apis/none/v1")["code"] == 404
