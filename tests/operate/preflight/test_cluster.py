"""What the cluster itself must be."""

from __future__ import annotations

from typing import Any

import pytest

from operate.preflight.clusters import asked, deployment, site
from penstock.operate.preflight import DryRun, Status


@pytest.mark.parametrize(
    ("version", "status"), [("1.36.0", Status.OK), ("1.30.1", Status.OK), ("1.29.4", Status.FAILED)]
)
def test_a_cluster_is_new_enough(version: str, status: Status) -> None:
    (found,) = asked("kubernetes-version", version=version)

    assert found.status is status


def test_what_a_model_asks_for_may_need_a_newer_one() -> None:
    fleet = site("hardware: {gpu: H100}", top="  hardware: {classes: [{gpu: H100, draClass: gpu.nvidia.com}]}\n")

    (found,) = asked("kubernetes-version", fleet=fleet, version="1.33.0")

    assert found.status is Status.FAILED
    assert "dynamic resource allocation" in found.message


def test_a_kind_that_is_not_served_says_what_brings_it() -> None:
    (found,) = asked("api-served", missing_kinds=(("keda.sh/v1alpha1", "ScaledObject"),))

    assert (found.about, found.status) == ("ScaledObject.keda.sh", Status.FAILED)
    assert "install KEDA" in found.hint


def test_our_own_kind_is_made_by_apply() -> None:
    (found,) = asked("api-served", missing_kinds=(("penstock.dev/v1alpha1", "Fleet"),))

    assert found.status is Status.OK


@pytest.mark.parametrize(
    ("namespace", "status", "words"),
    [
        (None, Status.OK, "there is no namespace ai yet"),
        ({"metadata": {}, "status": {"phase": "Terminating"}}, Status.FAILED, "is Terminating"),
        ({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}, Status.OK, "restricted"),
    ],
)
def test_a_namespace_can_be_applied_to(namespace: Any, status: Status, words: str) -> None:
    (found,) = asked("namespace", namespace=namespace)

    assert found.status is status
    assert words in found.message


def test_what_the_api_server_refuses_is_told_in_its_words() -> None:
    refusal = DryRun(subject="Deployment ai/f-chat", message="denied by the webhook", hint="ask its owner")

    (found,) = asked("dry-run", deployment(), dry_runs=(refusal,))

    assert (found.status, found.about, found.message) == (Status.FAILED, refusal.subject, refusal.message)


def test_what_could_not_be_tried_is_unknown() -> None:
    (found,) = asked("dry-run", deployment(), unread={"dry_runs": "the namespace is not there yet"})

    assert found.status is Status.UNKNOWN


def test_a_cluster_that_would_take_everything_is_well() -> None:
    (found,) = asked("dry-run", deployment())

    assert (found.status, found.message) == (Status.OK, "the API server would take all 1 objects")
