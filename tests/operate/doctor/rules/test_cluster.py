"""What a cluster reports: each trouble is told at its place."""

from __future__ import annotations

import pytest

from operate.doctor.faults import CLUSTER, Fault, assert_found_alone, codes, examined, read


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
