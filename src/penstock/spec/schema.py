"""JSON Schema of the fleet file, from its types: for editors, and for whoever checks files without Penstock. Pure."""

from __future__ import annotations

from typing import Any

from penstock.spec.fleet import API_VERSION, Fleet

__all__ = ["fleet_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def fleet_schema() -> dict[str, Any]:
    """The schema of a fleet file as JSON Schema draft 2020-12.

    It says what each field is; rules across fields (unique names, `endpoints` beside `hardware`) are the loader's.
    """
    schema = Fleet.model_json_schema(by_alias=True, mode="validation")
    _join_lines(schema)
    return {"$schema": _DIALECT, "$id": f"https://{API_VERSION}/fleet.schema.json", **schema, "title": "Penstock fleet"}


def _join_lines(node: object) -> None:
    """Descriptions are wrapped in the source; in the schema each is one line."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "description" and isinstance(value, str):
                node[key] = " ".join(value.split())
            else:
                _join_lines(value)
    elif isinstance(node, list):
        for item in node:
            _join_lines(item)
