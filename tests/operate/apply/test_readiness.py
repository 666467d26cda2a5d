"""How far an object is, by the rules of its kind."""

from __future__ import annotations

from typing import Any

import pytest

from operate.apply.made import Json, condition, deployment, live, pod, waiting, warning
from penstock.operate.apply.readiness import Readiness, Surroundings, readiness

ALONE = Surroundings()
ALL = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


def state(obj: Json | None, around: Surroundings = ALONE) -> tuple[str, str]:
    found = readiness(obj, around)
    return found.state, found.reason


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ALL, "ready"),
        (ALL | {"observedGeneration": 1}, "waiting"),
        (ALL | {"updatedReplicas": 1}, "waiting"),
        (ALL | {"availableReplicas": 1}, "waiting"),
        (ALL | {"replicas": 3}, "waiting"),
        ({}, "waiting"),
        ({"conditions": [condition("Progressing", "False", "ProgressDeadlineExceeded")]}, "failed"),
    ],
)
def test_a_deployment_is_ready_when_all_of_it_is_new_and_available(status: Json, expected: str) -> None:
    assert state(deployment(**status))[0] == expected


def test_a_deployment_that_sleeps_is_ready() -> None:
    asleep = deployment()
    asleep["spec"]["replicas"] = 0

    assert readiness(asleep, ALONE) == Readiness(state="ready", ready=0, desired=0)


def test_a_deployment_says_what_its_pods_say() -> None:
    pods = [pod("a", **waiting("ImagePullBackOff", "no")), pod("b", **waiting("ImagePullBackOff", "no"))]

    assert state(deployment(), Surroundings(pods=pods))[1] == "2 pods: the image img:1 cannot be pulled: no"


def test_a_quota_that_forbids_pods_is_told() -> None:
    refused = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")

    assert state(deployment(conditions=[refused]))[1] == "no pod can be made: exceeded quota"


def group(**status: Any) -> Json:
    return live("LeaderWorkerSet", api_version="leaderworkerset.x-k8s.io/v1", spec={"replicas": 1}, status=status)


def test_a_group_is_ready_when_it_says_that_it_is_available() -> None:
    whole = {"readyReplicas": 1, "updatedReplicas": 1, "conditions": [condition("Available")]}

    assert state(group(**whole))[0] == "ready"
    assert state(group(**(whole | {"conditions": []})))[0] == "waiting"
    assert state(group(**(whole | {"updatedReplicas": 0})))[0] == "waiting"


def test_a_job_is_done_failed_or_at_work() -> None:
    def job(*conditions: Json) -> Json:
        return live("Job", api_version="batch/v1", spec={}, status={"conditions": list(conditions)})

    worker = pod("w", containerStatuses=[{"name": "c", "state": {"running": {}}}])
    worker["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "x"

    assert state(job(condition("Complete")))[0] == "ready"
    assert state(job(condition("Failed", "True", "BackoffLimitExceeded", "it failed"))) == (
        "failed",
        "BackoffLimitExceeded: it failed",
    )
    assert state(job())[0] == "waiting"
    assert state(job(), Surroundings(pods=[worker])) == ("waiting", "runs, and works")


def test_a_claim_that_binds_late_is_not_waited_for() -> None:
    def claimed(phase: str, storage_class: str = "") -> Json:
        return live("PersistentVolumeClaim", spec={"storageClassName": storage_class}, status={"phase": phase})

    late = Surroundings(late_classes=frozenset({"local"}))
    broken = Surroundings(events=[warning("uid-x", "ProvisioningFailed", "no such class")])

    assert state(claimed("Bound"))[0] == "ready"
    assert state(claimed("Lost"))[0] == "failed"
    assert state(claimed("Pending"))[0] == "waiting"
    assert state(claimed("Pending", "local"), late)[0] == "ready"
    assert state(claimed("Pending"), broken) == ("waiting", "ProvisioningFailed: no such class")


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "waiting"),
        ([condition("AbleToScale"), condition("ScalingActive")], "ready"),
        ([condition("AbleToScale"), condition("ScalingActive", "False", "FailedGetPodsMetric")], "waiting"),
        ([condition("AbleToScale"), condition("ScalingActive", "False", "ScalingDisabled")], "ready"),
        ([condition("AbleToScale", "False", "FailedGetScale")], "waiting"),
    ],
)
def test_an_autoscaler_is_ready_when_it_can_read_and_scale(conditions: list[Json], expected: str) -> None:
    assert state(live("HorizontalPodAutoscaler", status={"conditions": conditions}))[0] == expected


def test_a_fleet_is_ready_when_its_controller_says_so_of_this_generation() -> None:
    def fleet(seen: int) -> Json:
        status = {"observedGeneration": seen, "conditions": [condition("Ready")]}
        return live("Fleet", api_version="penstock.dev/v1alpha1", status=status)

    assert state(fleet(2))[0] == "ready"
    assert state(fleet(1))[0] == "waiting"


def test_a_fleet_that_is_being_applied_is_not_ready_however_much_serves() -> None:
    facts = [condition("Applied", "False", "Blocked", "another owns a field"), condition("Ready")]
    fleet = live("Fleet", api_version="penstock.dev/v1alpha1", status={"observedGeneration": 2, "conditions": facts})

    found = readiness(fleet, Surroundings())

    assert (found.state, found.reason) == ("waiting", "Blocked: another owns a field")


def test_a_definition_is_ready_when_it_is_established_and_a_namespace_while_it_lives() -> None:
    established = {"conditions": [condition("Established")]}

    assert state(live("CustomResourceDefinition"))[0] == "waiting"
    assert state(live("CustomResourceDefinition", status=established))[0] == "ready"
    assert state(live("Namespace", status={"phase": "Active"}))[0] == "ready"
    assert state(live("Namespace", status={"phase": "Terminating"}))[0] == "failed"


def test_other_kinds_are_ready_by_being_there() -> None:
    assert state(live("ConfigMap"))[0] == "ready"
    assert state(None)[0] == "waiting"
