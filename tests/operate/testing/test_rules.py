"""Rules of built-in kinds, in the server's words."""

from __future__ import annotations

import pytest

from operate.testing.api import DEPLOYMENTS, PODS, Api, Json, deployment, pod
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.rules import rule_causes_of


def causes(plural: str, obj: Json) -> list[tuple[str, str]]:
    resource = next(each for each in BUILT_IN if each.plural == plural)
    return [(cause.field, cause.message) for cause in rule_causes_of(resource, obj)]


def test_the_selector_matches_the_template() -> None:
    refused = Api().refused("POST", DEPLOYMENTS, deployment(selector={"matchLabels": {"app": "other"}}))

    assert refused["message"] == (
        'Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` '
        "does not match template `labels`"
    )


def container(**more: object) -> Json:
    return {"name": "a", "image": "i:1"} | more


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"containers": []}, "spec.containers", "Required value"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image", "Required value"),
        (
            {"containers": [container(), container()]},
            "spec.containers[1].name",
            'Duplicate value: "a"',
        ),
        (
            {"containers": [container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
            "spec.containers[0].volumeMounts[0].name",
            'Not found: "v"',
        ),
        (
            {"containers": [container(resources={"limits": {"nvidia.com/gpu": "1500m"}})]},
            "spec.containers[0].resources.limits[nvidia.com/gpu]",
            'Invalid value: "1500m": must be an integer',
        ),
        (
            {"containers": [container(resources={"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}})]},
            "spec.containers[0].resources.requests",
            'Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
        ),
        (
            {"containers": [container(resources={"requests": {"nvidia.com/gpu": "1"}})]},
            "spec.containers[0].resources.limits",
            "Required value: Limit must be set for non overcommitable resources",
        ),
        (
            {"containers": [container(ports=[{"containerPort": 70000}])]},
            "spec.containers[0].ports[0].containerPort",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"restartPolicy": "Sometimes", "containers": [container()]},
            "spec.restartPolicy",
            'Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            {"tolerations": [{"operator": "Exists", "key": "k", "value": "v"}], "containers": [container()]},
            "spec.tolerations[0].operator",
            "Invalid value: \"v\": value must be empty when `operator` is 'Exists'",
        ),
    ],
)
def test_pods_are_held_to_their_rules(spec: Json, field: str, words: str) -> None:
    assert (field, words) in causes("pods", {"spec": spec})


def test_other_kinds_are_held_to_theirs() -> None:
    assert causes("services", {"spec": {}}) == [("spec.ports", "Required value")]
    two = {"ports": [{"port": 80}, {"port": 81, "name": "b"}]}
    assert causes("services", {"spec": two}) == [("spec.ports[0].name", "Required value")]
    both = {"minAvailable": 1, "maxUnavailable": 1}
    assert "cannot be both set" in causes("poddisruptionbudgets", {"spec": both})[0][1]
    assert (
        causes("horizontalpodautoscalers", {"spec": {"minReplicas": 3, "maxReplicas": 2}})[0][0] == "spec.maxReplicas"
    )
    assert causes("persistentvolumeclaims", {"spec": {"accessModes": ["Many"]}})[0][0] == "spec.accessModes"
    assert causes("jobs", {"spec": {"template": {"spec": pod()["spec"]}}})[0][0] == "spec.template.spec.restartPolicy"


def test_a_rollout_that_can_never_move_is_refused() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}

    refused = Api().refused("POST", DEPLOYMENTS, deployment(strategy=strategy))

    assert "may not be 0 when `maxSurge` is 0" in refused["message"]


def test_a_good_pod_passes() -> None:
    assert causes("pods", pod()) == []
    assert Api().ok("POST", PODS, pod())
