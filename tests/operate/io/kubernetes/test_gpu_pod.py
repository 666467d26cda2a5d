"""The throw-away pod: asked, heard, gone."""

from __future__ import annotations

from typing import Any

import pytest

from operate.io.kubernetes.clusters import T0, machines, moving, run, serving
from operate.preflight.clusters import site
from penstock.operate.io.kubernetes.client import Client
from penstock.operate.io.kubernetes.gpu_pod import run_gpu_test
from penstock.operate.preflight import Check, Status
from penstock.operate.preflight.smi import gpu_test_pod
from penstock.operate.testing import Cluster


def cluster_with(phase: str = "") -> Cluster:
    """A cluster whose pods come to this phase at once; empty: as its controllers have it."""
    cluster = Cluster(seed=1)
    machines(cluster)
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})

    def end() -> None:
        for pod in cluster.list("v1", "Pod", "ai"):
            if phase and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                cluster.update({**pod, "status": {"phase": phase}}, subresource="status", now=T0)

    cluster.on_change.append(end)
    return cluster


async def asked(api: Client, *, timeout_s: float = 10.0) -> Check:
    fleet = site()
    return await run_gpu_test(api, fleet, fleet.needs["chat"], "nvidia.com/gpu", timeout_s=timeout_s)


def test_what_the_pod_says_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def log_tail(*_: Any, **__: Any) -> str:
        return "Driver Version: 580.65.06"

    async def work() -> None:
        monkeypatch.setattr(Client, "log_tail", log_tail)  # the fake cluster runs no programs
        cluster = cluster_with("Succeeded")
        async with serving(cluster) as (_, api):
            found = await asked(api)
        assert (found.status, found.message) == (Status.OK, "a GPU with driver 580")
        assert cluster.list("v1", "Pod", "ai") == []

    run(work)


def test_a_pod_that_finds_no_node_says_why_and_is_gone() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
        async with serving(cluster) as (_, api), moving(cluster):
            found = await asked(api, timeout_s=0.5)
        assert found.status is Status.FAILED
        assert "no nodes available" in found.message or "0/0 nodes" in found.message
        assert all(pod["metadata"].get("deletionTimestamp") for pod in cluster.list("v1", "Pod", "ai"))

    run(work)


def test_a_pod_that_a_killed_run_left_behind_is_heard_and_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def log_tail(*_: Any, **__: Any) -> str:
        return "Driver Version: 580.65.06"

    async def work() -> None:
        monkeypatch.setattr(Client, "log_tail", log_tail)  # the fake cluster runs no programs
        cluster = cluster_with("Succeeded")
        async with serving(cluster) as (_, api):
            fleet = site()
            await api.apply(gpu_test_pod(fleet, fleet.needs["chat"], "nvidia.com/gpu"))
            found = await asked(api, timeout_s=5.0)
        assert found.status is Status.OK
        assert cluster.list("v1", "Pod", "ai") == []

    run(work)
