"""What a cluster reports: each trouble is told at its place."""

from __future__ import annotations

import pytest

from operate.doctor.faults import CLUSTER, Fault, assert_found_alone, codes, examined, read
from penstock.operate.doctor import Evidence, check, chosen, resource_of


@pytest.mark.parametrize("fault", CLUSTER, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_what_a_controller_made_is_judged_at_its_maker() -> None:
    text = read("stack.yaml").replace("      annotations:\n        checksum/config: 5b1f4b3a\n", "")
    start = text.index("apiVersion: apps/v1")
    made = text[start : text.index("---", start)].replace("kind: Deployment", "kind: ReplicaSet")
    made = made.replace(
        "name: llama-70b\n", "name: llama-70b-7f\n  ownerReferences: [{kind: Deployment, name: llama-70b}]\n", 1
    )

    assert codes(examined(f"{text}---\n{made}", "stack.yaml")) == ["PS041"]


def test_a_pod_that_was_killed_once_for_another_reason_is_no_finding() -> None:
    text = read("cluster.yaml").replace("lastState: {}", "lastState: {terminated: {reason: Completed, exitCode: 0}}")

    assert codes(examined(text, "cluster.yaml")) == []


def test_a_scaler_at_its_maximum_says_for_how_long_and_by_how_much() -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "load"}, "target": {"averageValue": "20"}}}
    now = {"type": "Pods", "pods": {"metric": {"name": "load"}, "current": {"averageValue": "45"}}}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 70}}}
    low = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 30}}}
    limited = {
        "type": "ScalingLimited",
        "status": "True",
        "reason": "TooManyReplicas",
        "message": "too many",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": "llm"},
        "spec": {"maxReplicas": 4, "metrics": [pods, cpu]},
        "status": {"conditions": [limited], "currentMetrics": [now, low]},
    }

    report = check(Evidence(resources=(resource_of(hpa),), now=1800.0), rules=chosen(("PS225",), ()))

    assert [(f.message, f.evidence) for f in report.findings] == [
        (
            "HPA h wants more than its 4 replicas for 30 min, and requests still wait",
            "too many; load is 45, its target 20",
        )
    ]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("The node was low on resource: memory. Threshold quantity: 100Mi", "its node ran out of host memory"),
        ("The node was low on resource: ephemeral-storage.", "its node ran out of local disk"),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 10Gi.", "its own limit"),
        ("", "disk or memory"),
    ],
)
def test_evictions_are_told_apart(message: str, why: str) -> None:
    told = f"phase: Failed\n      reason: Evicted\n      message: '{message}'\n"
    text = read("cluster.yaml").replace("phase: Running\n", told)

    (finding,) = examined(text, "cluster.yaml").findings

    assert finding.rule.code == "PS235"
    assert why in finding.message
