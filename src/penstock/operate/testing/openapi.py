"""The OpenAPI documents of what is served: version 3 by group and version, version 2 as JSON. Pure.

Guarantees: enough for `kubectl` to validate, explain and patch: schemas with their merge keys, and the query parameter
by which it sees that the server validates fields itself. Version 2 in protobuf, which old clients want, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.discovery import version_of_server
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.schemas import built_in_definitions, definition_names

__all__ = ["index_of", "openapi_v2", "openapi_v3"]

_OLD = "#/$defs/"
_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")


def _where(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def index_of(catalog: Catalog) -> dict[str, Any]:
    """`/openapi/v3`: where the document of each group and version is."""
    places = sorted({_where(resource) for resource in catalog.resources})
    return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash=fake"} for place in places}}


def openapi_v3(catalog: Catalog, place: str) -> dict[str, Any] | None:
    """The document of one group and version; None where nothing is served."""
    resources = [resource for resource in catalog.resources if _where(resource) == place]
    if not resources:
        return None
    document = _document(catalog, resources, "#/components/schemas/")
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version_of_server()["gitVersion"]},
        "paths": document["paths"],
        "components": {"schemas": document["schemas"]},
    }


def openapi_v2(catalog: Catalog) -> dict[str, Any]:
    """Everything in one document."""
    document = _document(catalog, catalog.resources, "#/definitions/")
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version_of_server()["gitVersion"]},
        "paths": document["paths"],
        "definitions": document["schemas"],
    }


def _document(catalog: Catalog, resources: Iterable[Resource], prefix: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for resource in resources:
        paths |= _paths(resource)
        name, schema = _schema(catalog, resource)
        pending = [name]
        schemas[name] = _converted(schema, prefix)
        pending = list(_references(schema))
        while pending:
            reference = pending.pop()
            if reference in schemas:
                continue
            found = built_in_definitions().get(reference)
            if found is not None:
                schemas[reference] = _converted(found, prefix)
                pending += _references(found)
    return {"paths": paths, "schemas": schemas}


def _schema(catalog: Catalog, resource: Resource) -> tuple[str, dict[str, Any]]:
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    built_in = definition_names().get((resource.group, resource.version, resource.kind))
    if built_in is not None and not resource.crd:
        return built_in, built_in_definitions()[built_in]
    reversed_group = ".".join(reversed(resource.group.split(".")))
    raw = {key: value for key, value in catalog.shape(resource).raw.items() if key != "$ref"}
    return f"{reversed_group}.{resource.version}.{resource.kind}", raw | {"x-kubernetes-group-version-kind": [gvk]}


def _paths(resource: Resource) -> dict[str, Any]:
    base = f"/{_where(resource)}" + ("/namespaces/{namespace}" if resource.is_namespaced else "")
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _PARAMETERS
    ]

    def operation(action: str) -> dict[str, Any]:
        return {
            "operationId": f"{action}{resource.kind}",
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }

    return {
        f"{base}/{resource.plural}": {"post": operation("post")},
        f"{base}/{resource.plural}/{{name}}": {
            "get": operation("get"),
            "put": operation("put"),
            "patch": operation("patch"),
            "delete": operation("delete"),
        },
    }


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_OLD)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _converted(schema: Any, prefix: str) -> Any:
    """Without `null` in types and with references that fit this document."""
    if isinstance(schema, list):
        return [_converted(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            found[key] = prefix + value.removeprefix(_OLD)
        elif key == "type" and isinstance(value, list):
            found[key] = next((each for each in value if each != "null"), "string")
        elif key in ("x-metadata", "x-schema"):
            continue
        else:
            found[key] = _converted(value, prefix)
    return found
