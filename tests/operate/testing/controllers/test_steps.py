"""Steps: the controllers together."""

from __future__ import annotations

from operate.testing.api import T0
from operate.testing.controllers.cluster_of import cluster_of, gpu_deployment, node, pods


def test_a_step_ends_when_nothing_changes_at_its_moment() -> None:
    cluster = cluster_of()
    cluster.apply(gpu_deployment(), now=T0)

    assert cluster.step(T0)
    revision = cluster.store.revision
    assert not cluster.step(T0)
    assert cluster.store.revision == revision


def test_room_that_comes_is_used() -> None:
    cluster = cluster_of(node("n1", 1))
    cluster.apply(gpu_deployment(replicas=2), now=T0)
    cluster.step(T0)
    assert [bool(each["spec"].get("nodeName")) for each in pods(cluster)].count(True) == 1

    cluster.create(node("n2", 1), now=T0 + 1)
    cluster.step(T0 + 1)

    assert all(each["spec"].get("nodeName") for each in pods(cluster))
