"""The CustomResourceDefinition `fleets.penstock.dev`, from the types of the fleet file. Pure.

Guarantees: what the loader accepts, the API server accepts, up to the sizes in `crd_schema`; no field is defaulted, so
that a fleet applied twice is the same object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from penstock.spec.base import SpecObject
from penstock.spec.crd_rules import add_rules
from penstock.spec.crd_schema import Node, spec_schema
from penstock.spec.fleet import API_VERSION, Fleet

__all__ = ["CRD_NAME", "fleet_crd", "fleet_resource"]

CRD_NAME = "fleets.penstock.dev"
_GROUP, _, _VERSION = API_VERSION.partition("/")
_COLUMNS = (
    ("Models", "string", ".status.summary.models", "Models of the fleet."),
    ("Ready", "string", ".status.summary.ready", "Ready replicas over desired ones, of all models."),
    ("Revision", "string", ".status.summary.revision", "Revision that the fleet is at, or on its way to."),
    ("Rollout", "string", ".status.summary.rollout", "What is being rolled out, and how far."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the fleet was made."),
)


def fleet_crd() -> Node:
    """The definition as the API server takes it."""
    names = {"kind": "Fleet", "listKind": "FleetList", "plural": "fleets", "singular": "fleet", "shortNames": ["fl"]}
    version = {
        "name": _VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": words} for name, kind, path, words in _COLUMNS
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME, "labels": {"app.kubernetes.io/managed-by": "penstock"}},
        "spec": {"group": _GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def fleet_resource(fleet: Fleet, namespace: str) -> Node:
    """The fleet as a custom resource: what its file says and nothing that it leaves out. Holds literal keys, if any."""
    metadata = fleet.metadata
    extra = {name: dict(value) for name in ("labels", "annotations") if (value := getattr(metadata, name))}
    spec = _said(fleet.spec)
    return {
        "apiVersion": fleet.api_version,
        "kind": fleet.kind,
        "metadata": {"name": metadata.name, "namespace": namespace, **extra},
        "spec": spec,
    }


def _said(value: Any) -> Any:
    """What was written, by the names of the file. A null says the same as nothing, but not as an engine's flag."""
    match value:
        case SpecObject():
            fields = type(value).model_fields
            said = {fields[name].alias or name: getattr(value, name) for name in fields if _is_said(value, name)}
            return {name: _said(item) for name, item in said.items()}
        case dict():
            return {name: _said(item) for name, item in value.items()}
        case list() | tuple():
            return [_said(item) for item in value]
        case SecretStr():
            return value.get_secret_value()
        case _:
            return value


def _is_said(value: SpecObject, name: str) -> bool:
    return name in value.model_fields_set and getattr(value, name) is not None


def _schema() -> Node:
    spec = spec_schema()
    add_rules(spec)
    name = {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
    return {
        "type": "object",
        "description": "A fleet of LLM engines with a gateway in front of it.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": _status_schema(),
        },
    }


def _text(words: str, **bounds: Any) -> Node:
    return {"type": "string", "description": words, **bounds}


def _count(words: str) -> Node:
    return {"type": "integer", "format": "int64", "minimum": 0, "description": words}


def _object(words: str, fields: Node, required: Sequence[str] = ()) -> Node:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "description": words, **needed, "properties": fields}


def _mapped(words: str, item: Node, key: str) -> Node:
    keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return {"type": "array", "description": words, **keys, "items": item}


def _status_schema() -> Node:
    summary = {
        "models": _text("Names of the models."),
        "ready": _text("Ready replicas over desired ones, as in `5/6`."),
        "revision": _text("Revision that the fleet is at, or on its way to."),
        "rollout": _text("What is being rolled out, and how far."),
    }
    model = {
        "name": _text("Name of the model."),
        "ready": _count("Replicas that serve."),
        "desired": _count("Replicas that should."),
        "revision": _text("Revision of the model's deployment."),
        "rollout": _text("How far the revision is rolled out."),
        "message": _text("What is missing and why, in words."),
    }
    condition = {
        "type": _text("What it is about.", maxLength=316),
        "status": {"type": "string", "description": "Whether it is so.", "enum": ["True", "False", "Unknown"]},
        "reason": _text("Why, in one word.", maxLength=1024),
        "message": _text("Why, in words.", maxLength=32768),
        "lastTransitionTime": _text("When it became so.", format="date-time"),
        "observedGeneration": _count("Generation of the fleet that it was seen at."),
    }
    fields = {
        "observedGeneration": _count("Generation of the fleet that this status is about."),
        "summary": _object("The fleet in one line.", summary),
        "models": _mapped("Each model.", _object("One model.", model, ["name"]), "name"),
        "conditions": _mapped("What is so.", _object("One fact.", condition, ["type", "status"]), "type"),
    }
    return _object("What was observed.", fields)
