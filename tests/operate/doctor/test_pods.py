"""Pods wherever they lie."""

from __future__ import annotations

import pytest

from penstock.operate.doctor import Resource, resource_of
from penstock.operate.doctor.pods import matches, owned, pods_of

POD = {"containers": [{"name": "a", "image": "i:1"}], "initContainers": [{"name": "b", "image": "j:1"}]}


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "Pod", "spec": POD},
        {"kind": "Deployment", "spec": {"replicas": 1, "template": {"spec": POD}}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}},
        {"kind": "LeaderWorkerSet", "spec": {"leaderWorkerTemplate": {"leaderTemplate": {"spec": POD}}}},
        {"kind": "InferenceService", "spec": {"predictor": POD}},
        {"kind": "LLMInferenceService", "spec": {"template": POD}},
        {"kind": "Rollout", "spec": {"template": {"spec": POD}}},
    ],
)
def test_a_pod_is_found_in_any_kind(value: dict[str, object]) -> None:
    (pod,) = pods_of(resource_of({"apiVersion": "x/v1", **value}))

    assert [(c.name, c.is_init) for c in pod.containers] == [("b", True), ("a", False)]


def test_the_schema_of_a_custom_resource_is_no_pod() -> None:
    assert pods_of(resource_of({"kind": "CustomResourceDefinition", "spec": {"x": POD}})) == []


def test_replicas_are_one_where_a_deployment_leaves_them_out() -> None:
    deployment = resource_of({"kind": "Deployment", "spec": {"template": {"spec": POD}}})
    job = resource_of({"kind": "Job", "spec": {"template": {"spec": POD}}})

    assert [pods_of(r)[0].replicas for r in (deployment, job)] == [1, None]


def test_the_limit_goes_before_the_request() -> None:
    container = {"name": "a", "image": "i", "resources": {"requests": {"x": "1", "y": "2"}, "limits": {"x": "3"}}}
    (pod,) = pods_of(resource_of({"kind": "Pod", "spec": {"containers": [container]}}))

    assert [pod.containers[0].amount(name) for name in ("x", "y", "z")] == [3, 2, None]


@pytest.mark.parametrize(
    ("selector", "is_met"),
    [
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({}, True),
        (None, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors_pick_as_kubernetes_does(selector: object, is_met: bool) -> None:
    node = resource_of({"s": selector}).root["s"]

    assert matches(node, {"a": "1"}) is is_met


def test_what_has_a_maker_that_is_there_is_owned() -> None:
    maker = resource_of({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})
    made = resource_of(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"ownerReferences": [{"kind": "Deployment", "name": "a"}]}}
    )

    assert owned((maker, made)) == {id(made)}
    assert owned((made,)) == set()


def test_where_the_maker_is_not_there_the_first_of_its_pods_stands_for_them() -> None:
    def made(name: str, by: str, *, is_controller: bool = True) -> Resource:
        owner = {"kind": "ReplicaSet", "name": by, "controller": is_controller}
        metadata = {"name": name, "namespace": "llm", "ownerReferences": [owner]}
        return resource_of({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})

    pods = (made("a", "r"), made("b", "r"), made("c", "s"), made("d", "t", is_controller=False))
    also = made("e", "t", is_controller=False)

    assert [r.name for r in (*pods, also) if id(r) not in owned((*pods, also))] == ["a", "c", "d", "e"]
