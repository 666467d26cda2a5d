"""One cluster asked about one fleet: its pods are counted as they will be."""

from __future__ import annotations

from typing import Any

from operate.preflight.clusters import GOOD, bundle, deployment, site
from penstock.operate.preflight import Status
from penstock.operate.preflight.case import Case, failed, ok, warning, workloads_of


def counts(*objects: dict[str, Any]) -> list[int]:
    return [count for _, _, count in workloads_of(bundle(*objects))]


def test_a_workload_has_as_many_pods_as_replicas() -> None:
    assert counts(deployment(replicas=3), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}) == [3]


def test_a_workload_that_a_scaler_owns_begins_with_one() -> None:
    scaled = deployment()
    del scaled["spec"]["replicas"]

    assert counts(scaled) == [1]


def test_a_group_has_a_leader_and_the_rest_are_workers() -> None:
    template = deployment()["spec"]["template"]
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "x"},
        "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": 4, "workerTemplate": template}},
    }

    assert counts(group) == [2, 6]


def test_what_could_not_be_read_says_why() -> None:
    case = Case(site=site(), bundle=bundle(), survey=GOOD)

    found = case.unknown("gpu-capacity", "daemon_sets", "x")

    assert (found.status, found.message) == (Status.UNKNOWN, "daemon sets: it was not read")


def test_answers_differ_in_how_bad_they_are() -> None:
    assert [make("a", "b", "c").status for make in (ok, warning, failed)] == [
        *(Status.OK, Status.WARNING, Status.FAILED),
    ]
