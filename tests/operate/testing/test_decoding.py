"""Objects as the server's types hold them."""

from __future__ import annotations

import pytest

from operate.testing.api import DEPLOYMENTS, MAPS, PODS, Api, config_map, deployment, needs_schemas, pod

pytestmark = needs_schemas


def test_unknown_fields_are_warned_of_refused_or_ignored() -> None:
    body = deployment(replicsa=3)

    warned = Api().send("POST", DEPLOYMENTS, body)
    refused = Api().refused("POST", DEPLOYMENTS, body, fieldValidation="Strict")
    ignored = Api().send("POST", DEPLOYMENTS, body, fieldValidation="Ignore")

    assert "replicsa" not in warned.body["spec"]
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.replicsa\\""'
    assert (refused["code"], refused["reason"]) == (400, "BadRequest")
    assert refused["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field '
        '"spec.replicsa"'
    )
    assert "Warning" not in ignored.headers


def test_unknown_fields_in_lists_have_their_index() -> None:
    refused = Api().refused(
        "POST", PODS, pod(containers=[{"name": "a", "image": "i:1", "imagee": "x"}]), fieldValidation="Strict"
    )

    assert 'unknown field "spec.containers[0].imagee"' in refused["message"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"replicas": "2"},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"paused": "yes"},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
    ],
)
def test_a_value_of_another_type_is_a_bad_request(spec: dict, words: str) -> None:
    refused = Api().refused("POST", DEPLOYMENTS, deployment(**spec))

    assert refused["code"] == 400
    assert refused["message"] == f'Deployment in version "v1" cannot be handled as a Deployment: {words}'


def test_quantities_are_stored_in_canonical_form() -> None:
    limits = {"cpu": "1000m", "memory": "2048Mi", "nvidia.com/gpu": 1}
    created = Api().ok("POST", PODS, pod(containers=[{"name": "a", "image": "i:1", "resources": {"limits": limits}}]))

    assert created["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "1",
        "memory": "2Gi",
        "nvidia.com/gpu": "1",
    }
    assert (
        Api()
        .refused(
            "POST", PODS, pod(containers=[{"name": "a", "image": "i:1", "resources": {"limits": {"cpu": "lots"}}}])
        )["message"]
        .startswith('Pod in version "v1" cannot be handled as a Pod: quantities must match')
    )


def test_emptiness_that_go_does_not_write_is_dropped() -> None:
    env = [{"name": "A", "value": ""}]
    containers = [{"name": "a", "image": "i:1", "env": env, "args": [], "volumeMounts": None, "securityContext": {}}]

    created = Api().ok("POST", PODS, pod(containers=containers, hostNetwork=False, volumes=[], nodeSelector={}))

    container = created["spec"]["containers"][0]
    assert container["env"] == [{"name": "A"}]
    assert not {"args", "volumeMounts"} & set(container)
    assert container["securityContext"] == {}
    assert not {"hostNetwork", "volumes", "nodeSelector"} & set(created["spec"])
    assert Api().ok("POST", MAPS, config_map("a", empty=""))["data"] == {"empty": ""}


def test_what_a_kind_requires_is_missed() -> None:
    refused = Api().refused("POST", PODS, pod(containers=[{"image": "i:1"}]))

    assert {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers[0].name"} in (
        refused["details"]["causes"]
    )
