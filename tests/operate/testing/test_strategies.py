"""What is special about kinds when they are written."""

from __future__ import annotations

from operate.testing.api import DEPLOYMENTS, MAPS, MERGE, PODS, Api, config_map, deployment, pod


def test_what_is_fixed_cannot_change() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment())
    other = deployment(selector={"matchLabels": {"app": "b"}})
    other["spec"]["template"]["metadata"]["labels"] = {"app": "b"}

    refused = api.refused("PUT", f"{DEPLOYMENTS}/web", other)

    assert refused["code"] == 422
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": 'Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
            "field": "spec.selector",
        }
    ]


def test_an_immutable_map_stays() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map() | {"immutable": True})

    refused = api.refused("PATCH", f"{MAPS}/a", {"data": {"key": "new"}}, kind=MERGE)

    assert "field is immutable when `immutable` is set" in refused["message"]


def test_a_pods_spec_is_fixed_but_for_its_image() -> None:
    api = Api()
    created = api.ok("POST", PODS, pod())
    created["spec"]["containers"][0]["image"] = "vllm:2"
    updated = api.ok("PUT", f"{PODS}/p", created)
    updated["spec"]["containers"][0]["command"] = ["sh"]

    refused = api.refused("PUT", f"{PODS}/p", updated)

    assert "pod updates may not change fields other than `spec.containers[*].image`" in refused["message"]


def test_a_new_object_begins_with_the_servers_status() -> None:
    api = Api()

    assert api.ok("POST", PODS, pod() | {"status": {"phase": "Running"}})["status"]["phase"] == "Pending"
    assert "status" not in api.ok("POST", DEPLOYMENTS, deployment() | {"status": {"replicas": 5}})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    created = api.ok("POST", "/api/v1/namespaces", namespace)
    assert created["status"] == {"phase": "Active"}
    assert created["spec"] == {"finalizers": ["kubernetes"]}
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}


def test_a_secrets_text_is_stored_encoded() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}}

    created = Api().ok("POST", "/api/v1/namespaces/default/secrets", secret)

    assert (created["data"], created["type"]) == ({"key": "dmFsdWU="}, "Opaque")
    assert "stringData" not in created
