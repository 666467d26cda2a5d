"""A client of the fake API server without HTTP, and the objects that its tests use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.operate.testing import Answer, Cluster, Request
from penstock.operate.testing.schemas import built_in_definitions

Json = dict[str, Any]
T0 = 1_767_225_600.0
"""1 January 2026, 00:00 UTC: when the clusters of the tests are made."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

needs_schemas = pytest.mark.skipif(
    not built_in_definitions(), reason="package kubernetes-validate, which has the API's schemas, is not installed"
)


class Api:
    """One cluster and the time of its next request."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster or Cluster(seed=1)
        self.now = T0

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        token: str = "",
        **query: str,
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": kind, "accept": accept, "user-agent": "tests/1.0"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        request = Request(method=method, path=path, query=query, headers=headers, body=data)
        return self.cluster.handle(request, self.now)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """The answer's body, of a request that must be carried out."""
        answer = self.send(method, path, body, **options)
        assert answer.code in (200, 201), answer.body
        found: Json = answer.body
        return found

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """The Status of a request that must be refused."""
        answer = self.send(method, path, body, **options)
        assert answer.code >= 400, answer.body
        assert answer.body["code"] == answer.code
        found: Json = answer.body
        return found

    def apply(self, path: str, body: Json, manager: str = "penstock", **query: str) -> Json:
        return self.ok("PATCH", path, body, kind=APPLY, fieldManager=manager, **query)


MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
FLEETS = "/apis/penstock.dev/v1/namespaces/default/fleets"


def config_map(name: str = "a", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"key": "value"}}


def pod(name: str = "p", **spec: Any) -> Json:
    containers = [{"name": "engine", "image": "vllm:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers} | spec,
    }


def deployment(name: str = "web", replicas: int = 2, image: str = "vllm:1", **spec: Any) -> Json:
    container = {"name": "engine", "image": image, "ports": [{"containerPort": 8000}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        }
        | spec,
    }


def owner(obj: Json, **more: Any) -> Json:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    } | more


def crd() -> Json:
    """A definition of fleets with every feature that is served."""
    spec: Json = {
        "type": "object",
        "required": ["replicas"],
        "properties": {
            "replicas": {"type": "integer", "minimum": 0},
            "mode": {"type": "string", "default": "auto", "enum": ["auto", "manual"]},
            "models": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "gpus": {"type": "integer"}},
                },
            },
        },
        "x-kubernetes-validations": [
            {"rule": "self.replicas < 10", "message": "a fleet has fewer than ten replicas"},
            {"rule": "self.mode == oldSelf.mode", "message": "the mode stays"},
        ],
    }
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}, "ready": {"type": "string"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [
            {"name": "Ready", "type": "string", "jsonPath": ".status.ready"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "fleets.penstock.dev"},
        "spec": {
            "group": "penstock.dev",
            "scope": "Namespaced",
            "names": {"plural": "fleets", "singular": "fleet", "kind": "Fleet", "shortNames": ["fl"]},
            "versions": [version],
        },
    }


def fleet(name: str = "a", **spec: Any) -> Json:
    body = {"replicas": 2} | spec
    return {"apiVersion": "penstock.dev/v1", "kind": "Fleet", "metadata": {"name": name}, "spec": body}


def with_fleets() -> Api:
    api = Api()
    api.cluster.create(crd(), now=T0)
    return api
