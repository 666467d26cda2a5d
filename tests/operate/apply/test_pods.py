"""Why a pod does not serve, in the words of whoever knows."""

from __future__ import annotations

import pytest

from operate.apply.made import Json, condition, pod, waiting, warning
from penstock.operate.apply.pods import is_ready, latest_warning, pod_trouble, restarts_of

READY = {"phase": "Running", "conditions": [condition("Ready")]}
KILLED = {"exitCode": 137, "reason": "OOMKilled"}
UNSCHEDULED = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient gpu.")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"conditions": [UNSCHEDULED]}, "no node takes it: 0/3 nodes are available: 3 Insufficient gpu."),
        (waiting("ImagePullBackOff", "not found"), "the image img:1 cannot be pulled: not found"),
        (waiting("CreateContainerConfigError", 'secret "k" not found'), 'cannot be made: secret "k" not found'),
        (waiting("CrashLoopBackOff", lastState={"terminated": KILLED}, restartCount=4), "memory limit (OOMKilled)"),
        (waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 2}}), "exit code 2"),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "failed: Evicted: disk"),
        ({"containerStatuses": [{"name": "e", "state": {"running": {}}}]}, "does not answer ready yet"),
        ({}, "waits for its volumes and images"),
    ],
)
def test_trouble_is_told_by_who_has_it(status: Json, words: str) -> None:
    assert words in pod_trouble(pod(**status))


def test_a_pod_that_serves_or_is_done_has_no_trouble() -> None:
    assert pod_trouble(pod(**READY)) == ""
    assert pod_trouble(pod(phase="Succeeded")) == ""
    assert is_ready(pod(**READY))


def test_a_pod_that_ends_is_not_ready_whatever_it_says() -> None:
    ending = pod(**READY)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert not is_ready(ending)
    assert pod_trouble(ending) == "is being deleted"


def test_the_newest_warning_about_it_explains_a_pod_that_says_nothing() -> None:
    old = warning("uid-p", "FailedMount", "old", "2026-01-01T00:00:00Z")
    new = warning("uid-p", "FailedMount", "volume is busy", "2026-01-02T00:00:00Z")
    other = warning("uid-q", "FailedMount", "not mine", "2026-01-03T00:00:00Z")

    assert pod_trouble(pod(), [new, other, old]) == "FailedMount: volume is busy"
    assert latest_warning([], "uid-p") == ""


def test_restarts_of_all_containers_count() -> None:
    both = {"initContainerStatuses": [{"restartCount": 1}], "containerStatuses": [{"restartCount": 2}, {}]}

    assert restarts_of(pod(**both)) == 3
