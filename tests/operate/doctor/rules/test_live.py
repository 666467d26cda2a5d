"""What a cluster measured: each trouble is told at its place, and what only looks like one is not."""

from __future__ import annotations

import pytest

from operate.doctor.faults import LIVE, Fault, assert_found_alone, codes, examined, read

MEASURED = [fault for fault in LIVE if fault.rule >= "PS250"]


@pytest.mark.parametrize("fault", MEASURED, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def _fault(rule: str) -> str:
    return next(fault for fault in MEASURED if fault.rule == rule).text


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("PS253", "10:08:20", "10:03:20"),
        ("PS253", "10:08:20", "15:00:00"),
        ("PS254", "09:59:25", "09:50:00"),
        ("PS254", "exitCode: 137", "exitCode: 1"),
        ("PS250", "disruptionsAllowed: 0", "disruptionsAllowed: 1"),
        ("PS250", "currentHealthy: 2", "currentHealthy: 1"),
        ("PS251", "ProgressDeadlineExceeded", "NewReplicaSetAvailable"),
        ("PS255", "[ReadWriteOnce]", "[ReadWriteMany]"),
        ("PS255", "nodeName: gpu-2", "nodeName: gpu-1"),
        ("PS256", "endpoints: []", "endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]"),
        ("PS256", "status: 'True', lastT", "status: 'False', lastT"),
    ],
)
def test_what_is_within_its_bounds_is_no_finding(rule: str, old: str, new: str) -> None:
    text = _fault(rule)
    assert old in text

    assert codes(examined(text.replace(old, new), "cluster.yaml")) == []


def test_an_update_that_may_take_a_pod_away_only_waits_for_gpus() -> None:
    text = _fault("PS252").replace("maxUnavailable: 0", "maxUnavailable: 1")

    assert codes(examined(text, "cluster.yaml")) == ["PS203"]


def test_a_quarter_of_one_replica_is_none() -> None:
    text = _fault("PS252").replace("rollingUpdate: {maxSurge: 1, maxUnavailable: 0}", "rollingUpdate: {}")

    assert codes(examined(text, "cluster.yaml")) == ["PS252", "PS203"]


def test_a_start_is_measured_from_the_containers_start_to_its_pods_readiness() -> None:
    (finding,) = examined(_fault("PS253"), "cluster.yaml").findings

    assert "took 500 s" in finding.message
    assert "after 600 s" in finding.message
    assert finding.fix == "failureThreshold: 100 with periodSeconds 10: twice what it took"


def test_a_budget_that_cannot_be_counted_is_told() -> None:
    condition = "conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: no controller}], "
    text = _fault("PS250").replace("status: {disruptionsAllowed", f"status: {{{condition}disruptionsAllowed")

    (finding,) = examined(text, "cluster.yaml").findings

    assert finding.message == "budget b cannot be counted and lets no pod go"


def test_nothing_of_this_is_found_in_a_healthy_cluster() -> None:
    assert codes(examined(read("cluster.yaml"), "cluster.yaml")) == []
