"""The controller keeps Fleets: it makes them, mends them, follows their changes, and says how they are."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from aiohttp import ClientSession

from operate.controller.fleets import TEXT
from operate.io.controller.running import cluster_with_fleet, condition, controlled, fleet_in, until
from operate.io.kubernetes.clusters import T0, run
from operate.io.scaling.fake_gateways import gateways
from operate.io.scaling.keda import keda
from penstock.operate.io.scaling import Beat
from penstock.operate.testing import Cluster
from penstock.operate.testing.io.server import ApiServer
from penstock.spec.crd import fleet_crd, fleet_resource
from penstock.spec.loader import load_fleet


def deployment(cluster: Cluster, name: str = "f-chat") -> dict[str, Any] | None:
    return cluster.get("apps/v1", "Deployment", name, "ai")


def is_ready(cluster: Cluster) -> bool:
    return condition(cluster, "Ready").get("status") == "True" and condition(cluster, "Applied").get("status") == "True"


def change_fleet(cluster: Cluster, **fields: Any) -> None:
    fleet = fleet_in(cluster)
    fleet["spec"]["models"][0] |= fields
    cluster.update(fleet, now=T0)


async def until_asked(server: ApiServer) -> None:
    """Until the controller has asked for Fleets and was told that there are none."""
    while not any(r.path == "/apis/penstock.dev/v1alpha1" and r.code == 404 for r in server.requests):  # noqa: ASYNC110
        await asyncio.sleep(0)


def test_a_fleet_is_made_and_told() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))

        summary = fleet_in(cluster)["status"]["summary"]
        assert (summary["models"], summary["ready"], summary["rollout"]) == ("chat", "1/1", "complete")

    run(work)


def test_it_may_start_before_the_cluster_knows_what_a_fleet_is() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "fleets.penstock.dev")
        async with controlled(cluster) as (server, _):
            await until_asked(server)
            cluster.create(fleet_crd())
            cluster.create(fleet_resource(load_fleet(TEXT, "f"), "ai"))
            await until(cluster, lambda: is_ready(cluster))

    run(work)


def test_it_ends_while_it_waits_for_the_definition() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "fleets.penstock.dev")
        async with controlled(cluster) as (server, _):
            await until_asked(server)

    run(work)


def test_what_somebody_deletes_comes_back() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))
            before = deployment(cluster, "f-gateway")
            assert before is not None
            cluster.delete("apps/v1", "Deployment", "f-gateway", "ai", now=T0)

            def is_back() -> bool:
                found = deployment(cluster, "f-gateway")
                return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

            await until(cluster, is_back)

    run(work)


SCALED = TEXT.replace("gpu: H100}}", "gpu: H100}, autoscaling: {via: penstock, maxReplicas: 4, targetConcurrency: 8}}")
SCALED += "  kubernetes: {controller: true}\n"


def test_keda_is_answered_from_what_the_gateways_say() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet(SCALED)
        async with gateways({"a": {"chat": 3}, "b": {"chat": 4}}) as made:
            for gateway in made.values():
                cluster.create(gateway.slice())
            async with controlled(cluster, beat=Beat(read=0.02)) as (_, controller):
                await until(cluster, lambda: condition(cluster, "Applied") != {})
                assert controller.scaler is not None
                while not any(row["is_known"] for row in controller.scaler.rows()):
                    await controller.scaler.next_look()
                async with keda(controller.scaler.port) as asking:
                    assert (await asking.target(), await asking.value()) == (8.0, 7.0)
                async with ClientSession() as session:
                    answer = await session.get(f"http://127.0.0.1:{controller.port}/api/v1/scaling")
                    (row,) = (await answer.json())["models"]
                    assert row["recommended_requests"] == 7.0

    run(work)


def test_without_grpc_fleets_are_kept_and_what_that_means_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("penstock.operate.io.scaling")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)

    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster, beat=Beat()) as (_, controller):
            await until(cluster, lambda: is_ready(cluster))
            assert controller.scaler is None
            async with ClientSession() as session:
                answer = await session.get(f"http://127.0.0.1:{controller.port}/api/v1/scaling")
                assert await answer.json() == {"is_on": False, "models": []}

    run(work)
    assert "grpcio is not installed" in caplog.text


def test_only_the_fleet_that_is_meant_is_kept() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        cluster.create(fleet_resource(load_fleet(TEXT.replace("name: f}", "name: g}"), "g"), "ai"))
        async with controlled(cluster, fleet="g"):
            await until(cluster, lambda: deployment(cluster, "g-chat") is not None)

        assert deployment(cluster, "f-chat") is None

    run(work)


def test_what_a_fleet_owns_goes_with_it_and_its_volumes_stay() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))
            cluster.delete("penstock.dev/v1alpha1", "Fleet", "f", "ai", now=T0)
            await until(cluster, lambda: deployment(cluster) is None)

        assert len(cluster.list("v1", "PersistentVolumeClaim", "ai")) == 1

    run(work)
