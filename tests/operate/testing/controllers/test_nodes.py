"""The nodes: how pods start, fail and end."""

from __future__ import annotations

import pytest

from operate.testing.api import T0, Json, pod
from operate.testing.controllers.cluster_of import cluster_of, node
from penstock.operate.testing import Cluster
from penstock.operate.testing.controllers.nodes import probe_budget_s
from penstock.operate.testing.controllers.world import ANNOTATION, is_ready


def annotated(**said: str) -> Json:
    body = pod()
    body["metadata"]["annotations"] = {f"{ANNOTATION}/{key.replace('_', '-')}": value for key, value in said.items()}
    return body


def after(cluster: Cluster, seconds: float) -> Json:
    cluster.step(T0 + seconds)
    found = cluster.get("v1", "Pod", "p")
    assert found is not None
    return found


def test_a_pod_is_ready_after_its_start() -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(annotated(start_s="300"), now=T0)

    assert after(cluster, 0)["status"]["phase"] == "Running"
    assert not is_ready(after(cluster, 299))
    assert is_ready(after(cluster, 300))


def test_a_probe_that_is_too_short_kills_a_loading_model() -> None:
    cluster = cluster_of(node("n1"))
    body = annotated(start_s="300")
    body["spec"]["containers"][0]["startupProbe"] = {
        "periodSeconds": 10,
        "failureThreshold": 6,
        "httpGet": {"port": 80},
    }
    cluster.create(body, now=T0)
    after(cluster, 0)

    found = after(cluster, 200)

    (container,) = found["status"]["containerStatuses"]
    assert container["restartCount"] == 3  # 200 s of tries of 60 s each
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert not is_ready(after(cluster, 900))


@pytest.mark.parametrize(
    ("fails", "phase", "reason"),
    [
        ("ImagePullBackOff", "Pending", "ImagePullBackOff"),
        ("OOMKilled", "Running", "CrashLoopBackOff"),
    ],
)
def test_a_pod_fails_as_it_is_told(fails: str, phase: str, reason: str) -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(annotated(fails=fails), now=T0)

    found = after(cluster, 30)

    (container,) = found["status"]["containerStatuses"]
    assert (found["status"]["phase"], container["state"]["waiting"]["reason"]) == (phase, reason)
    if fails == "OOMKilled":
        assert container["lastState"]["terminated"] == {"exitCode": 137, "reason": "OOMKilled"}


def test_a_pod_ends_after_it_stopped() -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(annotated(stop_s="20"), now=T0)
    after(cluster, 10)

    cluster.delete("v1", "Pod", "p", now=T0 + 10)

    assert not is_ready(after(cluster, 29))
    cluster.step(T0 + 30)
    assert cluster.get("v1", "Pod", "p") is None


def test_a_volume_that_is_not_there_holds_the_pod() -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(pod(volumes=[{"name": "v", "secret": {"secretName": "s"}}]), now=T0)

    (container,) = after(cluster, 60)["status"]["containerStatuses"]

    assert container["state"]["waiting"]["reason"] == "ContainerCreating"
    events = [event["message"] for event in cluster.list("v1", "Event") if event["reason"] == "FailedMount"]
    assert events == ['MountVolume.SetUp failed for volume "v" : secret "s" not found']


def test_the_budget_of_a_probe_is_its_delay_and_its_tries() -> None:
    assert probe_budget_s({"initialDelaySeconds": 5, "periodSeconds": 10, "failureThreshold": 3}) == 35.0
    assert probe_budget_s(None) is None
