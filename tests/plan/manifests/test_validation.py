"""The checker finds what an API server would reject, and says nothing of what it would take."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from plan.manifests.validation import CRDS, problems_of, unchecked

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat", "namespace": "default", "labels": {"app": "chat"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "chat"}},
        "template": {
            "metadata": {"labels": {"app": "chat"}},
            "spec": {
                "containers": [
                    {
                        "name": "engine",
                        "image": "vllm/vllm-openai:v0.32.0",
                        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
                        "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    },
}


def changed(path: str, value: Any) -> list[str]:
    """The problems of the Deployment with one place set to another value."""
    body = copy.deepcopy(DEPLOYMENT)
    *parents, last = path.split("/")
    place: Any = body
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    return problems_of([body])


def test_a_right_object_has_no_problems() -> None:
    assert problems_of([DEPLOYMENT]) == []


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("spec/replicas", "two", "spec.replicas"),
        ("spec/replica", 2, "'replica' was unexpected"),
        ("spec/replicas", None, "spec.replicas: is null"),
        ("metadata/name", "Chat_1", "is no name"),
        ("metadata/labels", {"app": "a b"}, "label app"),
        ("metadata/annotations", {}, "is an empty map"),
        ("spec/selector", {"matchLabels": {"app": "other"}}, "does not match"),
        ("spec/template/spec/volumes", [{"name": "cache", "emptyDir": {}}], "mounts tmp, which is no volume"),
        ("spec/template/spec/containers/0/resources", {"requests": {"cpu": "1000m"}}, "as '1'"),
        ("spec/template/spec/containers/0/resources", {"requests": {"memory": "1024Mi"}}, "as '1Gi'"),
        ("spec/template/spec/containers/0/resources", {"requests": {"nvidia.com/gpu": "1"}}, "takes one number"),
        ("spec/template/spec/containers/0/livenessProbe", {"httpGet": {"port": "metrics"}}, "asks port metrics"),
        ("spec/template/spec/containers/0/ports", [{"containerPort": 8000}], "has no protocol"),
        ("spec/strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, "never rolls"),
    ],
)
def test_each_fault_is_found(path: str, value: Any, word: str) -> None:
    assert any(word in problem for problem in changed(path, value)), changed(path, value)


def test_an_object_that_stands_there_twice_is_found() -> None:
    assert problems_of([DEPLOYMENT, copy.deepcopy(DEPLOYMENT)]) == ["Deployment/chat: stands there twice"]


def test_a_kind_that_kubernetes_does_not_have_is_found() -> None:
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "chat"}}
    assert any("has no PodDisruptionBudget in policy/v1beta1" in problem for problem in problems_of([budget]))


ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "chat"},
    "spec": {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}]}]},
}


@pytest.mark.skipif(not CRDS.is_dir(), reason="no CRD files at hand")
def test_custom_resources_are_held_against_their_crd_with_its_rules() -> None:
    assert problems_of([ROUTE]) == []
    unknown = copy.deepcopy(ROUTE)
    unknown["spec"]["rule"] = []
    assert any("'rule' was unexpected" in problem for problem in problems_of([unknown]))
    broken = copy.deepcopy(ROUTE)
    broken["spec"]["rules"][0]["matches"][0]["path"]["value"] = "v1"
    assert any("must be an absolute path" in problem for problem in problems_of([broken]))


def test_what_cannot_be_checked_is_said() -> None:
    assert unchecked([DEPLOYMENT]) is None
    assert (unchecked([ROUTE]) is None) == CRDS.is_dir()
