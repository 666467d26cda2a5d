"""Claims and volumes."""

from __future__ import annotations

from operate.testing.api import T0, Json, pod
from operate.testing.controllers.cluster_of import cluster_of
from penstock.operate.testing import Cluster
from penstock.operate.testing.controllers.world import ANNOTATION


def claim(*modes: str, name: str = "c", of_class: str | None = "disk") -> Json:
    spec: Json = {"accessModes": list(modes), "resources": {"requests": {"storage": "10Gi"}}}
    if of_class is not None:
        spec["storageClassName"] = of_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def with_class(mode: str = "Immediate", **annotations: str) -> Cluster:
    cluster = cluster_of()
    cluster.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "disk", "annotations": {f"{ANNOTATION}/{k}": v for k, v in annotations.items()}},
            "provisioner": "csi.example.com",
            "volumeBindingMode": mode,
        }
    )
    return cluster


def phase(cluster: Cluster, name: str = "c") -> str:
    found = cluster.get("v1", "PersistentVolumeClaim", name)
    assert found is not None
    return str(found["status"]["phase"])


def test_a_class_makes_a_volume_for_a_claim() -> None:
    cluster = with_class()
    cluster.create(claim("ReadWriteMany"), now=T0)

    cluster.step(T0)

    assert phase(cluster) == "Bound"
    (volume,) = cluster.list("v1", "PersistentVolume")
    assert volume["spec"]["claimRef"]["name"] == "c"
    assert volume["spec"]["capacity"] == {"storage": "10Gi"}


def test_a_mode_that_the_storage_cannot_do_stays_pending() -> None:
    cluster = with_class(**{"access-modes": "ReadWriteOnce"})
    cluster.create(claim("ReadWriteMany"), now=T0)

    cluster.step(T0)

    assert phase(cluster) == "Pending"
    (event,) = cluster.list("v1", "Event")
    assert event["reason"] == "ProvisioningFailed"


def test_a_class_may_wait_for_a_pod() -> None:
    cluster = with_class("WaitForFirstConsumer")
    cluster.create(claim("ReadWriteOnce"), now=T0)
    cluster.step(T0)
    assert phase(cluster) == "Pending"

    cluster.create(pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]), now=T0 + 1)
    cluster.step(T0 + 1)

    assert phase(cluster) == "Bound"


def test_a_claim_takes_the_smallest_volume_that_fits() -> None:
    cluster = cluster_of()
    for name, size in (("big", "100Gi"), ("fit", "20Gi"), ("small", "5Gi")):
        spec = {"accessModes": ["ReadOnlyMany"], "capacity": {"storage": size}, "storageClassName": "manual"}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
        cluster.create(volume | {"spec": spec | {"hostPath": {"path": "/d"}}})
    cluster.create(claim("ReadOnlyMany", of_class="manual"), now=T0)

    cluster.step(T0)

    found = cluster.get("v1", "PersistentVolumeClaim", "c")
    assert found is not None
    assert (found["spec"]["volumeName"], found["status"]["capacity"]) == ("fit", {"storage": "20Gi"})


def test_a_claim_for_one_node_is_not_mounted_on_two() -> None:
    cluster = with_class()
    cluster.create(claim("ReadWriteOnce"), now=T0)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    cluster.create(pod("p", volumes=volumes, nodeName="n1"), now=T0)
    cluster.step(T0)
    cluster.create(pod("q", volumes=volumes, nodeName="n2"), now=T0)

    cluster.step(T0 + 60)

    events = [event["message"] for event in cluster.list("v1", "Event") if event["reason"] == "FailedMount"]
    assert len(events) == 1
    assert "Multi-Attach error" in events[0]
