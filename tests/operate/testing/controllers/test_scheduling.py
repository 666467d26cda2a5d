"""The scheduler: where pods go, and why they do not."""

from __future__ import annotations

from fractions import Fraction

import pytest

from operate.testing.api import T0, Json, pod
from operate.testing.controllers.cluster_of import cluster_of, gpu_deployment, node, pods
from penstock.operate.testing import Cluster
from penstock.operate.testing.controllers.scheduling import requests_of

NONE = "No preemption victims found for incoming pod."
USELESS = "Preemption is not helpful for scheduling."


def placed(cluster: Cluster, name: str = "p", at: float = T0) -> Json:
    cluster.step(at)
    found = cluster.get("v1", "Pod", name)
    assert found is not None
    return found


def why(cluster: Cluster) -> str:
    found = placed(cluster)
    (condition,) = [each for each in found["status"]["conditions"] if each["type"] == "PodScheduled"]
    assert (condition["status"], condition["reason"], found["status"]["phase"]) == ("False", "Unschedulable", "Pending")
    events = [each["message"] for each in cluster.list("v1", "Event") if each["reason"] == "FailedScheduling"]
    assert events == [condition["message"]]
    return str(condition["message"])


def gpu_pod(gpus: int = 1, name: str = "p", **spec: object) -> Json:
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return pod(name, containers=[{"name": "a", "image": "i:1", "resources": limits}], **spec)


def test_too_few_gpus_are_told_in_the_schedulers_words() -> None:
    cluster = cluster_of(node("n1", 2), node("n2", 2), node("n3", 2))
    cluster.create(gpu_pod(4), now=T0)

    assert why(cluster) == (
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 " + NONE
    )


def test_each_node_has_its_own_reason() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    cluster = cluster_of(node("n1", 8, taints=[taint]), node("n2", 1), node("n3", 8, unschedulable=True))
    cluster.create(gpu_pod(2), now=T0)

    assert why(cluster) == (
        "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {nvidia.com/gpu: "
        "present}, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 1 No preemption victims found "
        "for incoming pod, 2 " + USELESS
    )


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"nodeSelector": {"gpu": "h100"}}, "n2"),
        ({"tolerations": [{"key": "spot", "operator": "Exists"}], "nodeSelector": {"spot": "yes"}}, "n3"),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100", "h200"]}]}
                            ]
                        }
                    }
                }
            },
            "n2",
        ),
    ],
)
def test_a_pod_goes_where_it_may(spec: Json, name: str) -> None:
    taint = {"key": "spot", "value": "true", "effect": "NoSchedule"}
    cluster = cluster_of(
        node("n1"), node("n2", labels={"gpu": "h100"}), node("n3", labels={"spot": "yes"}, taints=[taint])
    )
    cluster.create(pod(**spec), now=T0)

    assert placed(cluster)["spec"]["nodeName"] == name


def test_no_node_matches() -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(pod(nodeSelector={"gpu": "none"}), now=T0)

    assert why(cluster).startswith("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")


def test_a_claim_that_is_not_there_is_named() -> None:
    cluster = cluster_of(node("n1"))
    cluster.create(pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]), now=T0)

    assert why(cluster) == '0/1 nodes are available: persistentvolumeclaim "c" not found.'


def test_mig_slices_are_resources_like_others() -> None:
    cluster = cluster_of(node("n1"))
    sliced = node("n2")
    sliced["status"]["capacity"]["nvidia.com/mig-1g.10gb"] = "1"
    cluster.create(sliced, now=T0)
    limits = {"limits": {"nvidia.com/mig-1g.10gb": "1"}}
    for name in ("p", "q"):
        cluster.create(pod(name, containers=[{"name": "a", "image": "i:1", "resources": limits}]), now=T0)

    cluster.step(T0)

    assert [each["spec"].get("nodeName") for each in pods(cluster)] == ["n2", None]


def test_replicas_spread_and_averse_pods_stay_apart() -> None:
    cluster = cluster_of()
    cluster.apply(gpu_deployment(replicas=2), now=T0)
    cluster.step(T0)
    assert sorted(each["spec"]["nodeName"] for each in pods(cluster)) == ["n1", "n2"]

    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    averse = gpu_deployment(replicas=3)
    averse["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    }
    other = cluster_of()
    other.apply(averse, now=T0)
    other.step(T0)
    assert sum("nodeName" in each["spec"] for each in pods(other)) == 2


def test_a_spread_constraint_holds() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    cluster = cluster_of(node("n1", 8, labels={"zone": "a"}), node("n2", 1, labels={"zone": "b"}))
    body = gpu_deployment(replicas=4)
    body["spec"]["template"]["spec"]["topologySpreadConstraints"] = [constraint]
    cluster.apply(body, now=T0)
    cluster.step(T0)

    nodes = [each["spec"].get("nodeName") for each in pods(cluster)]
    assert (nodes.count("n1"), nodes.count("n2"), nodes.count(None)) == (2, 1, 1)


def test_a_higher_priority_takes_the_place_of_a_lower_one() -> None:
    # given a node full with batch work
    cluster = cluster_of(node("n1", 1))
    for name, value in (("batch", 0), ("serving", 1000)):
        cluster.create(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        )
    cluster.create(gpu_pod(name="low", priorityClassName="batch"), now=T0)
    assert placed(cluster, "low")["spec"]["nodeName"] == "n1"

    # when serving needs it
    cluster.create(gpu_pod(name="high", priorityClassName="serving"), now=T0 + 1)
    cluster.step(T0 + 1)
    cluster.step(T0 + 5)

    # then the batch pod is gone and the other has its place
    assert cluster.get("v1", "Pod", "low") is None
    assert placed(cluster, "high", T0 + 5)["spec"]["nodeName"] == "n1"


def test_requests_are_summed_and_init_containers_only_raise_them() -> None:
    def container(cpu: str) -> Json:
        return {"resources": {"requests": {"cpu": cpu}}}

    spec = {"containers": [container("1"), container("500m")], "initContainers": [container("3")]}

    assert requests_of({"spec": spec}) == {"cpu": Fraction(3)}
    assert requests_of({"spec": {"containers": spec["containers"]}}) == {"cpu": Fraction(3, 2)}
