"""Clusters with nodes, and what runs on them, for the tests of controllers."""

from __future__ import annotations

from typing import Any

from operate.testing.api import T0, Json, deployment
from penstock.operate.testing import Cluster


def node(name: str, gpus: int = 0, **spec: Any) -> Json:
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    labels = spec.pop("labels", {})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | labels},
        "spec": spec,
        "status": {"capacity": capacity},
    }


def cluster_of(*nodes: Json) -> Cluster:
    cluster = Cluster(seed=1)
    for each in nodes or (node("n1", 8), node("n2", 8)):
        cluster.create(each, now=T0)
    return cluster


def gpu_deployment(gpus: int = 1, replicas: int = 2, image: str = "vllm:1", **spec: Any) -> Json:
    body = deployment(replicas=replicas, image=image, **spec)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return body


def pods(cluster: Cluster) -> list[Json]:
    return cluster.list("v1", "Pod")


def status(cluster: Cluster) -> Json:
    found = cluster.get("apps/v1", "Deployment", "web")
    assert found is not None
    state: Json = found["status"]
    return state
