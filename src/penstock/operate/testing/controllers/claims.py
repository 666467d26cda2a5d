"""PersistentVolumeClaims: bound to a volume that is there, or to one that their class makes. Pure.

A class makes volumes of every access mode, unless its annotation `testing.penstock.dev/access-modes` names those that
its storage can do (`ReadWriteOnce,ReadWriteOncePod` for a disk).
"""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.controllers.world import ANNOTATION, World
from penstock.operate.testing.quantities import amount_of

__all__ = ["bind_claims"]

Json = dict[str, Any]
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def bind_claims(world: World) -> None:
    for claim in world.all("persistentvolumeclaims"):
        if claim["status"].get("phase") == "Pending" and not claim["metadata"].get("deletionTimestamp"):
            _bind(world, claim)


def _class_of(world: World, claim: Json) -> Json | None:
    name = claim["spec"].get("storageClassName")
    if name is not None:
        return world.get("storageclasses", "storage.k8s.io", "", name)
    marked = [
        each
        for each in world.all("storageclasses", "storage.k8s.io")
        if (each["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"
    ]
    return marked[0] if marked else None


def _bind(world: World, claim: Json) -> None:
    volume = _fitting(world, claim)
    if volume is None:
        volume = _made(world, claim)
    if volume is None:
        return
    metadata = claim["metadata"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": metadata["uid"]}
    reference |= {"name": metadata["name"], "namespace": metadata["namespace"]}
    volume = world.update("persistentvolumes", "", volume, spec=volume["spec"] | {"claimRef": reference})
    world.set_status("persistentvolumes", "", volume, {"phase": "Bound"})
    bound = world.update(
        "persistentvolumeclaims", "", claim, spec=claim["spec"] | {"volumeName": volume["metadata"]["name"]}
    )
    status = {
        "phase": "Bound",
        "accessModes": volume["spec"]["accessModes"],
        "capacity": {"storage": volume["spec"]["capacity"]["storage"]},
    }
    world.set_status("persistentvolumeclaims", "", bound, status)


def _fitting(world: World, claim: Json) -> Json | None:
    """The smallest free volume of the class, with the modes and the room."""
    spec = claim["spec"]
    asked = amount_of(spec["resources"]["requests"]["storage"])
    fitting = [
        volume
        for volume in world.all("persistentvolumes")
        if not volume["spec"].get("claimRef")
        and volume["spec"].get("storageClassName", "") == spec.get("storageClassName", "")
        and set(spec["accessModes"]) <= set(volume["spec"]["accessModes"])
        and amount_of(volume["spec"]["capacity"]["storage"]) >= asked
        and spec.get("volumeName") in (None, volume["metadata"]["name"])
    ]
    return min(fitting, key=lambda volume: amount_of(volume["spec"]["capacity"]["storage"]), default=None)


def _made(world: World, claim: Json) -> Json | None:
    found = _class_of(world, claim)
    component = "persistentvolume-controller"
    if found is None:
        name = claim["spec"].get("storageClassName")
        if name:
            words = f'storageclass.storage.k8s.io "{name}" not found'
            world.event(claim, "ProvisioningFailed", words, component=component)
        else:
            words = "no persistent volumes available for this claim and no storage class is set"
            world.event(claim, "FailedBinding", words, kind="Normal", component=component)
        return None
    if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not _has_consumer(world, claim):
        words = "waiting for first consumer to be created before binding"
        world.event(claim, "WaitForFirstConsumer", words, kind="Normal", component=component)
        return None
    modes = (found["metadata"].get("annotations") or {}).get(f"{ANNOTATION}/access-modes")
    if modes is not None and not set(claim["spec"]["accessModes"]) <= set(modes.split(",")):
        words = (
            f'failed to provision volume with StorageClass "{found["metadata"]["name"]}": rpc error: code = '
            f"InvalidArgument desc = unsupported access modes {claim['spec']['accessModes']}"
        )
        world.event(claim, "ProvisioningFailed", words, component=found["provisioner"])
        return None
    return world.create(
        "persistentvolumes",
        "",
        {
            "metadata": {"name": f"pvc-{claim['metadata']['uid']}"},
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "persistentVolumeReclaimPolicy": found.get("reclaimPolicy", "Delete"),
                "storageClassName": found["metadata"]["name"],
                "csi": {"driver": found["provisioner"], "volumeHandle": claim["metadata"]["uid"]},
            },
        },
    )


def _has_consumer(world: World, claim: Json) -> bool:
    """Whether a pod that uses the claim has a node."""
    metadata = claim["metadata"]
    return any(
        (volume.get("persistentVolumeClaim") or {}).get("claimName") == metadata["name"] and pod["spec"].get("nodeName")
        for pod in world.all("pods", "", metadata["namespace"])
        for volume in pod["spec"].get("volumes") or ()
    )
