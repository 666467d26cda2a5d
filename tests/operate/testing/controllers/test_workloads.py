"""Deployments and ReplicaSets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from operate.testing.api import T0, deployment
from operate.testing.controllers.cluster_of import cluster_of, node, pods, status
from penstock.operate.testing.controllers.workloads import bounds, template_hash
from penstock.operate.testing.controllers.world import is_ready


def test_a_deployment_becomes_ready_pods() -> None:
    # given a deployment of two replicas
    cluster = cluster_of()
    cluster.apply(deployment(replicas=2), now=T0)

    # when its pods have started
    cluster.step(T0)
    assert status(cluster)["unavailableReplicas"] == 2
    cluster.step(T0 + 5)

    # then it has what it wants, and says so
    found = status(cluster)
    assert (found["readyReplicas"], found["availableReplicas"], found["observedGeneration"]) == (2, 2, 1)
    reasons = {each["type"]: each["reason"] for each in found["conditions"]}
    assert reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    owners = [pod["metadata"]["ownerReferences"][0]["kind"] for pod in pods(cluster)]
    assert owners == ["ReplicaSet", "ReplicaSet"]
    assert not cluster.step(T0 + 5)


@settings(max_examples=25, deadline=None)
@given(
    replicas=st.integers(1, 5),
    surge=st.sampled_from([0, 1, 2, "50%"]),
    unavailable=st.sampled_from([0, 1, "25%"]),
)
def test_a_rolling_update_keeps_its_bounds_and_ends(replicas: int, surge: int | str, unavailable: int | str) -> None:
    """At every moment enough pods are available and not too many are there; in the end all are new."""
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    if surge == 0 and unavailable == 0:
        return
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    cluster = cluster_of()
    cluster.apply(deployment(replicas=replicas, strategy=strategy), now=T0)
    cluster.step(T0)
    cluster.step(T0 + 5)
    live = cluster.get("apps/v1", "Deployment", "web")
    assert live is not None
    most_over, most_under = bounds(live)

    cluster.apply(deployment(replicas=replicas, image="vllm:2", strategy=strategy), now=T0 + 6)
    for second in range(6, 90):
        cluster.step(T0 + second)
        alive = [pod for pod in pods(cluster) if "deletionTimestamp" not in pod["metadata"]]
        assert sum(map(is_ready, alive)) >= replicas - most_under
        assert len(alive) <= replicas + most_over

    assert {pod["spec"]["containers"][0]["image"] for pod in pods(cluster)} == {"vllm:2"}
    assert status(cluster)["availableReplicas"] == status(cluster)["updatedReplicas"] == replicas


def test_recreate_ends_the_old_before_the_new_begin() -> None:
    cluster = cluster_of()
    cluster.apply(deployment(strategy={"type": "Recreate"}), now=T0)
    cluster.step(T0)
    cluster.step(T0 + 5)

    cluster.apply(deployment(image="vllm:2", strategy={"type": "Recreate"}), now=T0 + 6)
    cluster.step(T0 + 6)
    assert {pod["spec"]["containers"][0]["image"] for pod in pods(cluster)} == {"vllm:1"}
    cluster.step(T0 + 8)

    assert {pod["spec"]["containers"][0]["image"] for pod in pods(cluster)} == {"vllm:2"}


def test_a_rollout_that_does_not_move_exceeds_its_deadline() -> None:
    cluster = cluster_of(node("n1", unschedulable=True))
    cluster.apply(deployment(progressDeadlineSeconds=60), now=T0)
    cluster.step(T0)

    cluster.step(T0 + 61)

    progress = next(each for each in status(cluster)["conditions"] if each["type"] == "Progressing")
    assert (progress["status"], progress["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_a_paused_rollout_scales_and_does_not_replace() -> None:
    cluster = cluster_of()
    cluster.apply(deployment(), now=T0)
    cluster.step(T0)

    cluster.apply(deployment(image="vllm:2", replicas=3, paused=True), now=T0 + 1)
    cluster.step(T0 + 1)

    assert [pod["spec"]["containers"][0]["image"] for pod in pods(cluster)] == ["vllm:1"] * 3


def test_old_sets_are_kept_to_their_limit_and_revisions_count_up() -> None:
    cluster = cluster_of()
    for number in range(1, 5):
        at = T0 + 100 * number
        cluster.apply(deployment(image=f"vllm:{number}", revisionHistoryLimit=1), now=at)
        for second in range(0, 60, 2):
            cluster.step(at + second)

    revisions = sorted(
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        for each in cluster.list("apps/v1", "ReplicaSet")
    )
    assert revisions == ["3", "4"]


def test_the_hash_stands_for_the_template() -> None:
    assert template_hash({"a": 1}) == template_hash({"a": 1}) != template_hash({"a": 2})
    assert len(template_hash({})) == 10


def test_deleting_a_deployment_ends_its_pods() -> None:
    cluster = cluster_of()
    cluster.apply(deployment(), now=T0)
    cluster.step(T0)

    cluster.delete("apps/v1", "Deployment", "web", now=T0 + 1)
    cluster.step(T0 + 10)

    assert pods(cluster) == []
    assert cluster.list("apps/v1", "ReplicaSet") == []
