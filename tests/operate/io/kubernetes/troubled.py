"""Puts what a dump shows into a fake cluster, as it is: for tests that read a cluster in trouble."""

from __future__ import annotations

from typing import Any

from operate.doctor.faults import CLUSTER, LIVE, Fault
from penstock.operate.doctor import evidence_of_text
from penstock.operate.testing import Cluster

Json = dict[str, Any]
FAULTS: tuple[Fault, ...] = (*CLUSTER, *LIVE)
_ADDED = (
    ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
    ("monitoring.coreos.com", "v1", "Prometheus", "prometheuses"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
)
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def define(cluster: Cluster) -> None:
    """Kinds that operators bring, without a schema."""
    for group, version, kind, plural in _ADDED:
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": _OPEN}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [served]}
        cluster.create(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": spec,
            }
        )


def put(cluster: Cluster, *objects: Json) -> None:
    """Stores objects with their status as they are: what controllers wrote cannot be created."""
    for obj in objects:
        served = cluster.catalog.of_kind(obj["apiVersion"], obj["kind"])
        assert served is not None, f"the fake cluster has no {obj['apiVersion']} {obj['kind']}"
        name = obj["metadata"]["name"]
        metadata = {"uid": f"u-{name}", "creationTimestamp": "2026-01-01T00:00:00Z", **obj["metadata"]}
        cluster.store.put(served, {**obj, "metadata": metadata})


def troubled(text: str) -> Cluster:
    """A cluster that holds what a dump shows."""
    cluster = Cluster(seed=1)
    define(cluster)
    for place, resource in enumerate(evidence_of_text(text, "cluster.yaml").resources):
        obj = resource.value
        if obj["kind"] == "Event":  # each has a name of its own
            obj = {**obj, "metadata": {**obj["metadata"], "name": f"e-{place}"}}
        put(cluster, obj)
    return cluster


def pod(name: str, *, namespace: str = "llm", log: str = "", maker: str = "", **status: Any) -> Json:
    """A pod of one container; `maker` is the ReplicaSet that made it, `status` that of its container."""
    annotations = {"testing.penstock.dev/log": log} if log else {}
    metadata: Json = {"name": name, "namespace": namespace, "annotations": annotations, "labels": {"app": "x"}}
    if maker:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": maker, "uid": f"u-{maker}", "controller": True}
        metadata["ownerReferences"] = [owner]
    told = {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **status}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", "image": "a/b:1.0"}]},
        "status": {"phase": "Running", "containerStatuses": [told]},
    }
