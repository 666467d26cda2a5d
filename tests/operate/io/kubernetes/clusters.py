"""A fake cluster that moves, a client of it, and a small fleet to apply: for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock.operate.apply.objects import ref_of
from penstock.operate.io.kubernetes.client import Client, open_client
from penstock.operate.io.kubernetes.gathering import Target
from penstock.operate.io.kubernetes.session import Patience
from penstock.operate.testing import Cluster, Logged, User
from penstock.operate.testing.io.server import ApiServer
from penstock.plan.manifests import Bundle, Manifest, Wave

Json = dict[str, Any]
T0 = 1_767_225_600.0
WAIT_S = 40.0
FAST = Patience(tries=4, first_s=0.0)
LABELS = {"penstock.dev/fleet": "demo", "app.kubernetes.io/managed-by": "penstock"}
ADMIN = User(name="boss", groups=("system:masters",))


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await work()

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def serving(
    cluster: Cluster | None = None, *, token: str = "", tokens: dict[str, User] | None = None
) -> AsyncIterator[tuple[ApiServer, Client]]:
    """A server and a client of it that does not dwell on failures."""
    with TemporaryDirectory() as folder:
        async with ApiServer(cluster or Cluster(seed=1), clock=lambda: T0, tokens=tokens) as server:
            path = server.kubeconfig(Path(folder) / "config", "llm", token=token)
            async with open_client(kubeconfig=str(path), patience=FAST) as client:
                yield server, client


def machines(cluster: Cluster) -> None:
    """Two nodes with eight GPUs, and a class of volumes."""
    size = {"cpu": "64", "memory": "1000Gi", "pods": "110", "nvidia.com/gpu": "8", "ephemeral-storage": "2000Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is"}
    for name in ("n1", "n2"):
        node = cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        status = {"capacity": size, "allocatable": size, "conditions": [ready]}
        cluster.update({**node, "status": status}, subresource="status")
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    metadata = {"name": "files", "annotations": mark}
    cluster.create(
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata, "provisioner": "x/y"}
    )


@contextlib.asynccontextmanager
async def moving(cluster: Cluster) -> AsyncIterator[None]:
    """Lets the cluster's controllers work, seconds of its time for hundredths of ours."""

    async def tick() -> None:
        now = T0
        while True:
            cluster.step(now)
            now += 5.0
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tick())
        try:
            yield
        finally:
            task.cancel()


def config(name: str = "settings", value: str = "1", **labels: str) -> Json:
    metadata = {"name": name, "namespace": "llm", "labels": {**LABELS, **labels}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def namespace() -> Json:
    labels = {"app.kubernetes.io/managed-by": "penstock"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm", "labels": labels}}


def deployment(name: str = "chat", replicas: int | None = 2, image: str = "engine:1") -> Json:
    selector = {"app": name}
    spec: Json = {
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {"labels": {**LABELS, **selector}},
            "spec": {"containers": [{"name": "engine", "image": image}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    metadata = {"name": name, "namespace": "llm", "labels": {**LABELS, "app.kubernetes.io/component": "engine"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def job(name: str = "fetch", image: str = "fetch:1") -> Json:
    pod = {"containers": [{"name": "fetch", "image": image}], "restartPolicy": "Never"}
    spec = {"backoffLimit": 0, "template": {"metadata": {"labels": LABELS}, "spec": pod}}
    metadata = {"name": name, "namespace": "llm", "labels": LABELS}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def claim(name: str = "models", size: str = "10Gi") -> Json:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}}
    metadata = {"name": name, "namespace": "llm", "labels": LABELS}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def autoscaler(name: str = "chat") -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4, "metrics": [cpu]}
    metadata = {"name": name, "namespace": "llm", "labels": LABELS}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def priority(name: str = "penstock-serving") -> Json:
    metadata = {"name": name, "labels": LABELS}
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata, "value": 1000}


_WAVES = {
    "Namespace": Wave.CLUSTER,
    "CustomResourceDefinition": Wave.CLUSTER,
    "PriorityClass": Wave.CLUSTER,
    "ConfigMap": Wave.STORE,
    "PersistentVolumeClaim": Wave.STORE,
    "Job": Wave.FETCH,
    "HorizontalPodAutoscaler": Wave.SCALE,
}


def target(*objects: Json, fleet: str = "demo", namespace: str = "llm") -> Target:
    """A fleet of these objects, in their waves."""
    manifests = [Manifest(body=obj, wave=_WAVES.get(obj["kind"], Wave.SERVE), file="f") for obj in objects]
    manifests.sort(key=lambda manifest: manifest.wave)
    return Target(fleet=fleet, namespace=namespace, bundle=Bundle(manifests=tuple(manifests)))


def small_fleet() -> Target:
    """One of each kind that waits for something."""
    return target(namespace(), priority(), config(), claim(), job(), deployment())


def writes(server: ApiServer) -> list[Logged]:
    """Requests that changed something: dry runs are not among them."""
    return [r for r in server.requests if r.is_write and r.query.get("dryRun") != "All" and r.code < 400]


def substance_of(cluster: Cluster, *targets: Target) -> Iterator[tuple[str, Any]]:
    """What the objects of fleets are, without what differs between two runs."""
    for each in targets:
        for obj in each.bundle.objects:
            ref = ref_of(obj)
            live = cluster.get(ref.api_version, ref.kind, ref.name, ref.namespace or "default")
            spec = None if live is None else live.get("spec", live.get("data"))
            if isinstance(spec, dict):
                random = ("volumeName", "selector", "template")
                spec = {k: v for k, v in spec.items() if k not in random}
            yield str(ref), spec
