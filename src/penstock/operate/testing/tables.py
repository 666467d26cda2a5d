"""Objects as tables, the form that `kubectl get` prints. Pure."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.kinds import Resource

__all__ = ["table_of"]


def table_of(resource: Resource, body: dict[str, Any], now: float, include: str) -> dict[str, Any]:
    """An object or a list as `meta.k8s.io/v1` Table."""
    items = body["items"] if body["kind"] == resource.kind_of_list else [body]
    columns = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    rows = [{"cells": [obj["metadata"]["name"]], "object": _included(obj, include)} for obj in items]
    metadata = body["metadata"] if body["kind"] == resource.kind_of_list else {}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def _included(obj: dict[str, Any], include: str) -> Any:
    match include:
        case "None":
            return None
        case "Object":
            return obj
        case _:
            return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
